"""What the server bears: load, many requests, bad ones, and being killed.

    python benchmarks/serving.py

A process serves the digits' generator, exported, by `--mode=serve`; this one
asks, 8 requests at a time, each on a connection that is kept. Every answer is
held against the SavedModel's pictures.

- `load`: 2,000 requests of each kind; p50 and p99 of the time to an answer, and
  the time for all over that of a loop which calls the SavedModel as often, on
  as many rows, in a process of its own.
- `memory`: what the process holds over 20,000 requests.
- `bad`: each of `bad_requests`, and a good one after it.
- `killed`: SIGKILL under load, and the same command again.

Writes docs/server.jsonl, and its table in docs/server.md. `--quick` shows in
little time whether all of it runs.
"""

import argparse
import collections
import concurrent.futures
import contextlib
import http.client
import json
import multiprocessing
import os
import pathlib
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

import bad_requests
import machine
import memory

from sngan_tf import files
from sngan_tf.studies import page as page_lib

AT_A_TIME = 8
NAME = "digits"
_PREDICT = f"/v1/models/{NAME}:predict"
_KINDS = 32  # Different requests, asked in turn.
_PATIENCE = 120  # Seconds for a server to start.

Request = collections.namedtuple("Request", "method path body")


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    docs = machine.ROOT / "docs"
    parser.add_argument("--output", type=pathlib.Path, default=docs / "server")
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args(arguments)
    few = arguments.quick
    count = 40 if few else 2_000
    rows = [{"machine": machine.description()}]
    with tempfile.TemporaryDirectory() as folder:
        version = pathlib.Path(folder) / NAME / "export" / "generator" / "1"
        answers, loops = in_other_process(prepared, version, count)
        with Server(version.parents[2]) as server:
            rows += [
                load(server, answers[kind], kind, count, loops[kind])
                for kind in KINDS
            ]
            rows.append(held(server, answers["1"], 200 if few else 20_000))
            rows.append(bad(server, answers["1"]))
            rows.append(killed(server, answers["1"], 0.2 if few else 2.0))
    for row in rows:
        print(json.dumps(row))
    files.write_rows(arguments.output.with_suffix(".jsonl"), rows)
    tables = {"serving": table(rows)}
    page_lib.fill(arguments.output.with_suffix(".md"), tables)


# Rows of a request, and what it is called.
KINDS = {
    "1": (1, "predict, 1 row"),
    "16": (16, "predict, 16 rows"),
    "png": (16, "`sample.png`, 16 pictures"),
}


def prepared(version, calls):
    """Exports the digits' generator, and calls it in a loop.

    Returns:
        `{kind: [(Request, answer)]}`: pictures of the SavedModel, of PNGs
        None, as these are held against each other; and `{kind: seconds}` of
        so many calls.
    """
    import numpy as np
    import tensorflow as tf

    from sngan_tf.gan import sampler as sampler_lib
    from sngan_tf.gan import serving
    from sngan_tf.networks import pretrained

    generator, _ = pretrained.pretrained(NAME)
    serving.save(sampler_lib.Sampler(generator), version)
    serve = tf.saved_model.load(str(version)).signatures["serving_default"]
    random = np.random.default_rng(0)
    answers, seconds = {}, {}
    for kind, (rows, _) in KINDS.items():
        answers[kind] = []
        for seed in range(_KINDS):
            latents = random.normal(size=(rows, 128)).astype("float32")
            images = serve(latents=tf.constant(latents))["images"].numpy()
            body = json.dumps({"instances": latents.tolist()}).encode()
            request = Request("POST", _PREDICT, body)
            if kind == "png":
                path = f"/sample.png?seed={seed}&count={rows}"
                request, images = Request("GET", path, None), None
            answers[kind].append((request, images))
        latents = tf.constant(latents)
        began = time.perf_counter()
        for _ in range(calls):
            serve(latents=latents)["images"].numpy()
        seconds[kind] = time.perf_counter() - began
    return answers, seconds


def in_other_process(function, *arguments):
    """Returns what a function does in a process that ends with it."""
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, context) as pool:
        return pool.submit(function, *arguments).result()


class Server:
    """A process that serves a workdir.

    Attributes:
        port: That it listens at.
        process: The process.
    """

    def __init__(self, workdir):
        with contextlib.closing(socket.socket()) as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._command = [
            sys.executable,
            str(machine.ROOT / "main.py"),
            "--mode=serve",
            f"--workdir={workdir}",
            f"--port={self.port}",
        ]
        self.process = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(_PATIENCE)

    def start(self):
        """Starts it, and returns the seconds until it is ready."""
        began = time.perf_counter()
        self.process = subprocess.Popen(
            self._command,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": str(machine.ROOT)},
        )
        while time.perf_counter() - began < _PATIENCE:
            if self.process.poll() is not None:
                raise RuntimeError("the server ended as it began")
            with contextlib.suppress(OSError, http.client.HTTPException):
                if self.ask(Request("GET", "/ready", None))[0] == 200:
                    return time.perf_counter() - began
            time.sleep(0.05)
        raise RuntimeError(f"the server was not ready in {_PATIENCE} seconds")

    def connection(self):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)

    def ask(self, request, connection=None):
        """Returns the status and content of an answer."""
        own = connection or self.connection()
        own.request(*request)
        answer = own.getresponse()
        content = answer.read()
        if connection is None:
            own.close()
        return answer.status, content

    def meter(self, name):
        """Returns a number of its metrics."""
        _, content = self.ask(Request("GET", "/metrics", None))
        (line,) = (
            line
            for line in content.decode().splitlines()
            if line.startswith(f"{name} ")
        )
        return float(line.split()[1])


class Clients:
    """Clients that ask at once, until all has been asked or they are stopped.

    Args:
        server: `Server`.
        answers: `[(Request, images)]`, asked in turn.
        count: Of requests; None for as many as there is time for.

    Attributes:
        seconds: Of each that was answered as it must be.
        wrong: Answers that were others.
        later: Answers that it is not ready, or has no room.
        lost: Times at which one was not answered.
    """

    def __init__(self, server, answers, count=None):
        self.seconds, self.wrong, self.later, self.lost = [], 0, 0, []
        self._server = server
        self._answers = answers
        self._left = count
        self._asked = 0
        self._known = {}
        self._lock = threading.Lock()
        self._threads = [
            threading.Thread(target=self._run) for _ in range(AT_A_TIME)
        ]

    def start(self):
        for thread in self._threads:
            thread.start()
        return self

    def join(self):
        for thread in self._threads:
            thread.join()
        return self

    def stop(self):
        with self._lock:
            self._left = 0
        return self.join()

    def _run(self):
        connection = self._server.connection()
        while (number := self._next()) is not None:
            request, images = self._answers[number % len(self._answers)]
            began = time.perf_counter()
            try:
                status, content = self._server.ask(request, connection)
            except (OSError, http.client.HTTPException):
                self.lost.append(time.perf_counter())
                connection.close()
                time.sleep(0.02)
                continue
            spent = time.perf_counter() - began
            if status == 200 and self._is_right(request, images, content):
                self.seconds.append(spent)
            elif status == 503:
                self.later += 1
                time.sleep(0.1)
            else:
                self.wrong += 1
        connection.close()

    def _next(self):
        with self._lock:
            if self._left is not None:
                if not self._left:
                    return None
                self._left -= 1
            self._asked += 1
            return self._asked

    def _is_right(self, request, images, content):
        """Returns whether pictures are those of the SavedModel.

        Parsed once for each content, so as not to take the server's processor.
        """
        known = self._known.setdefault(request, set())
        if content in known:
            return True
        if images is None:
            right = content.startswith(b"\x89PNG") and not known
        else:
            found = json.loads(content)["predictions"]
            # What is beside a row in a batch may round it otherwise.
            right = all(
                abs(a - b) <= 1
                for a, b in zip(_flat(found), images.flat, strict=True)
            )
        if right:
            known.add(content)
        return right


def _flat(nested):
    if not isinstance(nested, list):
        yield nested
        return
    for value in nested:
        yield from _flat(value)


def load(server, answers, kind, count, loop):
    """Returns a row on so many requests, beside the seconds of a bare loop."""
    _, name = KINDS[kind]
    Clients(server, answers, 4 * len(answers)).start().join()
    before = [server.meter(f"sngan_batch_rows_{x}") for x in ("sum", "count")]
    began = time.perf_counter()
    clients = Clients(server, answers, count).start().join()
    seconds = time.perf_counter() - began
    after = [server.meter(f"sngan_batch_rows_{x}") for x in ("sum", "count")]
    centiles = statistics.quantiles(clients.seconds, n=100)
    return {
        "what": "load",
        "request": name,
        "requests": count,
        "at_a_time": AT_A_TIME,
        "lost": len(clients.lost) + clients.later,
        "wrong": clients.wrong,
        "p50_ms": round(1e3 * centiles[49], 2),
        "p99_ms": round(1e3 * centiles[98], 2),
        "per_second": round(count / seconds, 1),
        "bare_per_second": round(count / loop, 1),
        "ratio": round(seconds / loop, 2),
        "rows_at_once": round(
            (after[0] - before[0]) / (after[1] - before[1]), 1
        ),
    }


def held(server, answers, count, parts=10):
    """Returns a row on the memory of the process, after each part."""
    found, lost = [], 0
    for _ in range(parts):
        clients = Clients(server, answers, count // parts).start().join()
        lost += len(clients.lost) + clients.later + clients.wrong
        found.append(round(memory.held(process=server.process.pid), 1))
    return {
        "what": "memory",
        "requests": count,
        "lost": lost,
        "mib": found,
        # The first tenth fills what is kept from then on.
        "growth_mib": round(found[-1] - found[0], 1),
    }


def bad(server, answers):
    """Returns a row on requests that are no good."""
    kinds = bad_requests.kinds()
    refused, served = collections.Counter(), 0
    for _, content in kinds:
        status, said = bad_requests.ask(server.port, content)
        refused[f"{status // 100}xx" if said.get("error") else "silent"] += 1
        clients = Clients(server, answers, AT_A_TIME).start().join()
        served += len(clients.seconds) == AT_A_TIME
    return {
        "what": "bad",
        "kinds": len(kinds),
        "answers": dict(refused),
        "good_served_after": served,
    }


def killed(server, answers, seconds):
    """Returns a row on SIGKILL under load, and the same command again."""
    clients = Clients(server, answers).start()
    time.sleep(seconds)
    server.process.send_signal(signal.SIGKILL)
    server.process.wait()
    before = len(clients.seconds)
    down = server.start()
    ready = time.perf_counter()
    time.sleep(seconds)
    clients.stop()
    return {
        "what": "killed",
        "answered_before": before,
        "down_seconds": round(down, 1),
        "answered_after": len(clients.seconds) - before,
        "lost_after": sum(moment > ready for moment in clients.lost),
        "wrong": clients.wrong,
    }


def table(rows):
    """Returns the lines of Markdown that docs/server.md shows."""
    about, *rows = rows
    lines = [
        f"{machine.line(about['machine'])}.",
        "",
        "| 8 at a time | requests | lost | p50 | p99 | a second | bare loop | "
        "time over the loop's | rows at once |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        "| {request} | {requests:,} | {lost} | {p50_ms} ms | {p99_ms} ms | "
        "{per_second:,.0f} | {bare_per_second:,.0f} | {ratio} | "
        "{rows_at_once} |".format(**row)
        for row in rows
        if row["what"] == "load"
    ]
    lines += ["", "| | |", "|---|---|"]
    for row in rows:
        lines += _FACTS.get(row["what"], lambda row: [])(row)
    return lines


def _of_memory(row):
    yield (
        f"| held after {row['requests'] // 10:,} and after "
        f"{row['requests']:,} requests | {row['mib'][0]} MiB, "
        f"{row['mib'][-1]} MiB |"
    )


def _of_bad(row):
    answers = ", ".join(f"{n} {kind}" for kind, n in row["answers"].items())
    yield (
        f"| {row['kinds']} kinds of bad requests | {answers}; "
        f"{row['good_served_after']} times the next were served |"
    )


def _of_killed(row):
    yield (
        "| killed under load and started again | ready after "
        f"{row['down_seconds']} s; {row['answered_after']:,} answered from "
        f"then on, {row['lost_after']} lost, {row['wrong']} wrong |"
    )


_FACTS = {"memory": _of_memory, "bad": _of_bad, "killed": _of_killed}

if __name__ == "__main__":
    main()
