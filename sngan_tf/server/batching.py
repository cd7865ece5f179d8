"""Runs a model for many requests: one thread, few at a time, none forever."""

import asyncio
import collections
import concurrent.futures
import contextlib
import dataclasses
import logging
import re
import time

import numpy as np
import tensorflow as tf

from sngan_tf.errors import first_line
from sngan_tf.server import models
from sngan_tf.server.problems import Problem
from sngan_tf.server.problems import later

_LOGGER = logging.getLogger(__name__)


@dataclasses.dataclass(eq=False)
class _Job:
    """A call that waits.

    Attributes:
        signature: `models.Signature`.
        inputs: `{name: array}`.
        rows: For each output row one, if others may join; else 0.
        answer: Future of `{name: array}`.
    """

    signature: models.Signature
    inputs: dict
    rows: int
    answer: asyncio.Future


class Batcher:
    """A bounded queue before a model, and the thread that computes.

    What has come in while the model was busy is computed together, up to
    `batch` rows; nothing waits for others to come. Rows are padded to
    powers of two, so that few shapes are computed. What one row comes to
    depends on those beside it by rounding alone.

    Args:
        limits: `Limits`.
        meters: `Meters`.

    Attributes:
        batch: The most rows that are computed at once.
    """

    def __init__(self, limits, meters):
        self.batch = limits.batch
        self._limits = limits
        self._meters = meters
        self._waiting = collections.deque()
        self._arrived = asyncio.Event()
        self._thread = concurrent.futures.ThreadPoolExecutor(1, "model")
        meters.count_waiting(lambda: len(self._waiting))

    @contextlib.asynccontextmanager
    async def working(self):
        """A context in which what is asked is computed."""
        worker = asyncio.create_task(self._work())
        try:
            yield
        finally:
            worker.cancel()
            self._thread.shutdown(wait=False, cancel_futures=True)

    async def in_thread(self, function, *arguments):
        """Returns what a function does in the model's thread."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, function, *arguments)

    async def run(self, signature, inputs, alone=False):
        """Returns what a signature makes of its inputs, `{name: array}`.

        Args:
            signature: `models.Signature`.
            inputs: `{name: array}`, of its types and shapes.
            alone: Whether no other request's rows join these, nor padding, so
                that equal inputs have equal outputs to the last bit.

        Raises:
            Problem: 503 if too many wait, 504 after the deadline, 400 if the
                model refuses the inputs.
        """
        if len(self._waiting) >= self._limits.queue:
            raise later(
                f"As many requests wait as may, {self._limits.queue}; try "
                "again in a moment"
            )
        answer = asyncio.get_running_loop().create_future()
        rows = 0 if alone else _rows(signature, inputs)
        self._waiting.append(_Job(signature, inputs, rows, answer))
        self._arrived.set()
        try:
            async with asyncio.timeout(self._limits.deadline):
                return await answer
        except TimeoutError as error:
            raise Problem(
                504,
                "There was no answer within "
                f"{self._limits.deadline:g} seconds; ask for less, or later",
            ) from error

    async def _work(self):
        while True:
            await self._arrived.wait()
            jobs = self._next()
            if not jobs:
                self._arrived.clear()
                continue
            began = time.perf_counter()
            answers = await self.in_thread(_compute, jobs)
            rows = sum(job.rows for job in jobs) or 1
            self._meters.computed(rows, time.perf_counter() - began)
            for job, answer in zip(jobs, answers, strict=True):
                if job.answer.done():
                    continue  # It waits no longer.
                if isinstance(answer, Problem):
                    job.answer.set_exception(answer)
                else:
                    job.answer.set_result(answer)

    def _next(self):
        """Takes the job that waited longest, and those that can join it."""
        left = [job for job in self._waiting if not job.answer.done()]
        self._waiting.clear()
        taken, rows = left[:1], sum(job.rows for job in left[:1])
        for job in left[1:]:
            joins = job.rows and rows and job.signature is taken[0].signature
            if joins and rows + job.rows <= self.batch:
                taken.append(job)
                rows += job.rows
            else:
                self._waiting.append(job)
        return taken


def warm_up(signature, batch):
    """Computes every number of rows that batches are padded to.

    Args:
        signature: `models.Signature`; one that takes no batches, or rows of
            unknown size, is left alone.
        batch: The most rows.
    """
    specs = signature.inputs.values()
    sizes = [size for spec in specs for size in (spec.shape or [])[1:]]
    if not signature.takes_batches() or None in sizes:
        return
    rows = 1
    while rows <= _padded(batch):
        signature.call(
            **{
                name: tf.zeros((rows, *spec.shape[1:]), spec.dtype)
                for name, spec in signature.inputs.items()
            }
        )
        rows *= 2


def _rows(signature, inputs):
    """Returns how many rows inputs have, 0 if others can't join them."""
    if not signature.takes_batches():
        return 0
    counts = {len(array) for array in inputs.values()}
    return counts.pop() if len(counts) == 1 else 0


def _compute(jobs):
    """Returns an answer or a `Problem` for each of the jobs."""
    try:
        if jobs[0].rows:
            return _together(jobs)
        return [_call(jobs[0].signature, jobs[0].inputs)]
    except Exception as error:  # whatever models raise
        if len(jobs) == 1:
            return [_problem(error)]
    # One of them is at fault, and the others are not to suffer.
    return [_compute([job])[0] for job in jobs]


def _together(jobs):
    rows = sum(job.rows for job in jobs)
    added = _padded(rows) - rows
    inputs = {}
    for name in jobs[0].inputs:
        parts = [job.inputs[name] for job in jobs]
        if added:
            parts.append(parts[-1][-1:].repeat(added, axis=0))
        inputs[name] = np.concatenate(parts)
    outputs = _call(jobs[0].signature, inputs)
    answers, first = [], 0
    for job in jobs:
        last = first + job.rows
        answers.append({name: x[first:last] for name, x in outputs.items()})
        first = last
    return answers


def _padded(rows):
    """Returns the power of two that is not less."""
    return 1 << (rows - 1).bit_length()


def _call(signature, inputs):
    tensors = {
        name: tf.constant(inputs[name], spec.dtype)
        for name, spec in signature.inputs.items()
    }
    outputs = signature.call(**tensors)
    return {name: tensor.numpy() for name, tensor in outputs.items()}


def _problem(error):
    if isinstance(error, tf.errors.InvalidArgumentError):
        # What a model's own checks say: [a] [b], with more around.
        said = re.search(r"assertion failed: \[(.*)\]", str(error))
        words = said[1].replace("] [", " ") if said else first_line(error)
        return Problem(400, words)
    _LOGGER.error("The model failed", exc_info=error)
    return Problem(500, f"The model failed: {first_line(error)}")
