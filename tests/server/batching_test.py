import asyncio
import threading

import numpy as np
import pytest
import tensorflow as tf

from sngan_tf.server import batching
from sngan_tf.server import meters
from sngan_tf.server import models
from sngan_tf.server.limits import Limits
from sngan_tf.server.problems import Problem

ROWS = tf.TensorSpec((None, 2), tf.float32)


class Doubling:
    """A signature that notes what it computed, and waits to be let go on.

    Attributes:
        calls: The arrays that it was called with.
        free: Event that it waits for.
    """

    def __init__(self, specs=(ROWS, ROWS)):
        self.calls = []
        self.free = threading.Event()
        self.free.set()
        self.signature = models.Signature(
            {"x": specs[0]}, {"y": specs[1]}, self._call
        )

    def _call(self, x):
        self.calls.append(x.numpy())
        assert self.free.wait(10)
        if np.any(x.numpy() < 0):
            # As TensorFlow has what the checks of a graph say.
            message = "assertion failed: [`x` must be in [0, 9).] [-3]\n\t [["
            raise tf.errors.InvalidArgumentError(None, None, message)
        if np.any(x.numpy() == 13):
            raise RuntimeError("unlucky")
        return {"y": 2 * x}


def rows(*values):
    return {"x": np.float32([[value, value] for value in values])}


def answers(doubling, requests, limits=None, **kwargs):
    """Returns what each of the requests is answered, the first one alone.

    The others come while it is computed.
    """

    async def answer(inputs):
        try:
            found = await batcher.run(doubling.signature, inputs, **kwargs)
        except Problem as problem:
            return problem
        return found["y"][:, 0].tolist()

    async def all_answers():
        nonlocal batcher
        batcher = batching.Batcher(limits or Limits(), meters.Meters())
        async with batcher.working():
            doubling.free.clear()
            first = asyncio.create_task(answer(requests[0]))
            while not doubling.calls:
                await asyncio.sleep(0.001)
            others = [asyncio.create_task(answer(x)) for x in requests[1:]]
            await asyncio.sleep(0.01)
            doubling.free.set()
            return await asyncio.gather(first, *others)

    batcher = None
    return asyncio.run(all_answers())


def test_what_waits_is_computed_together():
    doubling = Doubling()
    requests = [rows(1), rows(2), rows(3, 4), rows(5)]
    assert answers(doubling, requests) == [[2], [4], [6, 8], [10]]
    first, others = doubling.calls
    assert first[:, 0].tolist() == [1]
    assert others[:, 0].tolist() == [2, 3, 4, 5]


def test_batches_are_padded_to_powers_of_two_up_to_a_bound():
    doubling = Doubling()
    limits = Limits(batch=4)
    requests = [rows(1, 2, 3), *(rows(x) for x in range(4, 10)), rows(*[1] * 6)]
    found = answers(doubling, requests, limits)
    assert found[0] == [2, 4, 6]
    assert found[1:7] == [[2 * x] for x in range(4, 10)]
    assert found[7] == [2] * 6
    # A request of more rows than the bound is computed by itself.
    assert [len(call) for call in doubling.calls] == [4, 4, 2, 8]
    assert doubling.calls[0][:, 0].tolist() == [1, 2, 3, 3]


def test_what_is_asked_alone_is_neither_padded_nor_joined():
    doubling = Doubling()
    requests = [rows(1, 2, 3), rows(4), rows(5)]
    found = answers(doubling, requests, alone=True)
    assert found == [[2, 4, 6], [8], [10]]
    assert [len(call) for call in doubling.calls] == [3, 1, 1]


def test_signature_without_batches_is_called_as_it_is_asked():
    fixed = tf.TensorSpec((3, 2), tf.float32)
    doubling = Doubling((fixed, fixed))
    requests = [rows(1, 2, 3), rows(4, 5, 6)]
    assert answers(doubling, requests) == [[2, 4, 6], [8, 10, 12]]
    assert [len(call) for call in doubling.calls] == [3, 3]


def test_one_bad_request_is_no_other_ones_harm():
    doubling = Doubling()
    requests = [rows(1), rows(2), rows(-3), rows(13), rows(5)]
    first, second, refused, failed, last = answers(doubling, requests)
    assert (first, second, last) == ([2], [4], [10])
    assert (refused.status, refused.message) == (
        400,
        "`x` must be in [0, 9). -3",
    )
    assert failed.status == 500
    assert failed.message == "The model failed: unlucky"


def test_queue_is_bounded():
    doubling = Doubling()
    requests = [rows(x) for x in range(6)]
    found = answers(doubling, requests, Limits(queue=3))
    assert found[:4] == [[0], [2], [4], [6]]
    for problem in found[4:]:
        assert problem.status == 503
        assert problem.headers == {"Retry-After": "1"}
        assert "3; try again in a moment" in problem.message


def test_deadline_is_kept_and_what_is_late_is_not_computed():
    doubling = Doubling()

    async def ask():
        batcher = batching.Batcher(Limits(deadline=0.05), meters.Meters())
        async with batcher.working():
            doubling.free.clear()
            late = await asyncio.gather(
                *(batcher.run(doubling.signature, rows(x)) for x in (1, 2)),
                return_exceptions=True,
            )
            doubling.free.set()
            # Those that are given up hold up nobody.
            found = await batcher.run(doubling.signature, rows(3))
            return late, found["y"][0, 0]

    late, found = asyncio.run(ask())
    assert [problem.status for problem in late] == [504, 504]
    assert "within 0.05 seconds" in late[0].message
    assert found == 6
    assert [call[0, 0] for call in doubling.calls] == [1, 3]


def test_warming_up_computes_every_size():
    doubling = Doubling()
    batching.warm_up(doubling.signature, 6)
    assert [call.shape for call in doubling.calls] == [
        (1, 2),
        (2, 2),
        (4, 2),
        (8, 2),
    ]
    unknown = Doubling((tf.TensorSpec((None, None), tf.float32), ROWS))
    batching.warm_up(unknown.signature, 6)
    assert not unknown.calls


@pytest.mark.parametrize("shape", [(), (3,), None])
def test_only_rows_of_unknown_number_are_batches(shape):
    spec = tf.TensorSpec(shape, tf.float32)
    assert not Doubling((spec, ROWS)).signature.takes_batches()
    assert not Doubling((ROWS, spec)).signature.takes_batches()
    assert Doubling((ROWS, ROWS)).signature.takes_batches()
    assert not models.Signature({}, {"y": ROWS}, None).takes_batches()
