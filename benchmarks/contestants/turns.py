"""Lets contestants take turns, each in a process of its own."""

import contextlib
import dataclasses
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import machine

_FOLDER = pathlib.Path(__file__).resolve().parent
# Threads of OpenMP look for more work for up to 0.2 s before they sleep.
_PAUSE = 0.25


class Unable(Exception):
    """A contestant that can't take part, with the reason."""


class Worker:
    """A contestant's process, ready to step.

    Args:
        contestant: `contestants.Contestant`.
        cell: `contestants.Cell`.
        threads: That it may use.

    Raises:
        Unable: If it can't be built, or ends.
    """

    def __init__(self, contestant, cell, threads):
        request = {
            "module": contestant.module,
            "cell": dataclasses.asdict(cell),
            "threads": threads,
            "options": contestant.options,
        }
        self._said = tempfile.TemporaryFile("w+")  # noqa: SIM115
        # Idle threads wait as each library has it by default: asleep at once
        # they would have to be woken for every operation.
        self._process = subprocess.Popen(
            [sys.executable, str(_FOLDER / "worker.py"), json.dumps(request)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            text=True,
            bufsize=1,
            env={**os.environ, **machine.thread_variables(threads)},
        )
        try:
            self.built = self._reply()
        except Unable:
            self.close()
            raise

    def run(self, steps):
        """Returns the seconds of so many steps and their last losses."""
        print(steps, file=self._process.stdin, flush=True)
        reply = self._reply()
        return reply["seconds"], reply["losses"]

    def close(self):
        """Ends the process."""
        for stream in (self._process.stdin, self._process.stdout):
            stream.close()
        self._process.wait()
        self._said.close()

    def _reply(self):
        line = self._process.stdout.readline()
        reply = json.loads(line) if line else {"reason": self._last_words()}
        if "reason" in reply:
            raise Unable(reply["reason"])
        return reply

    def _last_words(self):
        code = self._process.wait()
        self._said.seek(0)
        said = self._said.read().strip().splitlines()
        return f"ended with {code}: {said[-1] if said else 'without a word'}"


@contextlib.contextmanager
def started(entries, threads, log=print):
    """Yields `({name: Worker}, {name: reason})`, the latter of those unable.

    They start one after the other, so that none disturbs the next.

    Args:
        entries: `{name: (Contestant, Cell)}`.
        threads: That each may use.
        log: Called with a line for each.
    """
    workers, unable = {}, {}
    try:
        for name, (contestant, cell) in entries.items():
            began = time.perf_counter()
            try:
                workers[name] = Worker(contestant, cell, threads)
            except Unable as reason:
                unable[name] = str(reason)
                log(f"  {name}: left out, {reason}")
                continue
            log(f"  {name}: ready in {time.perf_counter() - began:.1f} s")
        yield workers, unable
    finally:
        for worker in workers.values():
            worker.close()


def steps_of_turn(worker, seconds):
    """Returns how many steps take about so many seconds, at least a cycle."""
    cycle = worker.built["cycle"]
    took, _ = worker.run(cycle)
    return cycle * max(1, round(seconds / took))


def turn(worker, steps):
    """Returns the seconds of a step and the last losses, over `steps`."""
    time.sleep(_PAUSE)
    seconds, losses = worker.run(steps)
    return seconds / steps, losses


def alternate(workers, first, rounds, seconds):
    """Yields `(round, name, seconds of a step, steps, losses)` of each turn.

    A round is first, b, first, c, ..., first, so that each is between two
    turns of the first, and what the machine does meanwhile is the same for
    both.

    Args:
        workers: `{name: Worker}`.
        first: Name of the one all others are compared with.
        rounds: How many.
        seconds: That a turn takes, about.
    """
    counts = {name: steps_of_turn(w, seconds) for name, w in workers.items()}
    others = [name for name in workers if name != first]
    order = [first, *(x for name in others for x in (name, first))]
    for number in range(rounds):
        for name in order:
            each, losses = turn(workers[name], counts[name])
            yield number, name, each, counts[name], losses
