"""The matrix product that the machine's rate is taken by."""

import machine

import contestants


def build(cell, threads, size=machine.SIZE):
    products = machine.products(size)
    rates = {
        name: machine.rate(multiply, size, repeats=3)[0]
        for name, multiply in products.items()
    }
    fastest = max(rates, key=rates.get)

    def run(steps):
        for _ in range(steps):
            products[fastest]()
        return {}

    return contestants.Built(run, flop=machine.flop(size), note=fastest)
