import contextlib
import functools
import os
import signal
import threading

import numpy as np
import pytest
import small

from sngan_tf import files
from sngan_tf.errors import Interrupted
from sngan_tf.errors import UserError
from sngan_tf.modes import train as train_lib
from sngan_tf.runs import callbacks
from sngan_tf.runs import checkpoint
from sngan_tf.runs import interrupts as interrupts_lib
from sngan_tf.runs import scoring
from sngan_tf.runs import workdir as workdir_lib

SIGNALS = [signal.SIGTERM, signal.SIGINT]
numbers = pytest.mark.parametrize("number", SIGNALS)


def send(number):
    """Sends this process a signal; its handler has run on return."""
    os.kill(os.getpid(), number)


@pytest.fixture(autouse=True)
def handlers():
    """Handlers of this test's own, which must be there again at its end."""

    def unexpected(number, frame):
        raise AssertionError(number)

    before = [signal.signal(number, unexpected) for number in SIGNALS]
    yield unexpected
    left = [signal.signal(number, old) for number, old in zip(SIGNALS, before)]
    assert left == [unexpected, unexpected]


def interrupted_in(function):
    """Calls it with `Interrupts`, which it must end by; returns the error."""

    def run():
        with interrupts_lib.Interrupts() as interrupts:
            function(interrupts)

    with pytest.raises(Interrupted) as caught:
        run()
    return caught.value


@numbers
def test_signal_is_put_off_to_the_end(number):
    received = []

    def work(interrupts):
        received.append(interrupts.received)
        send(number)
        received.append(interrupts.received)

    error = interrupted_in(work)
    assert received == [0, number]
    assert error.number == number
    assert signal.Signals(number).name in str(error)


def test_without_a_signal_nothing_is_raised():
    with interrupts_lib.Interrupts() as interrupts:
        pass
    assert interrupts.received == 0


@pytest.mark.parametrize("first", SIGNALS)
@pytest.mark.parametrize("second", SIGNALS)
def test_second_signal_acts_at_once(first, second):
    done = []

    def work(interrupts):
        send(first)
        done.append(first)
        send(second)
        done.append(second)

    assert interrupted_in(work).number == second
    assert done == [first]


def fail_after_a_signal():
    with interrupts_lib.Interrupts():
        send(signal.SIGTERM)
        raise UserError("disk full")


def test_error_is_not_hidden_by_a_signal():
    with pytest.raises(UserError, match="disk full"):
        fail_after_a_signal()


@numbers
def test_signal_ends_what_it_may_act_on(number):
    done = []

    def work(interrupts):
        with contextlib.suppress(Interrupted), interrupts.acted_on():
            done.append("this")
            send(number)
            done.append("the rest")
        with contextlib.suppress(Interrupted), interrupts.acted_on():
            done.append("what comes later")
        done.append("after")

    assert interrupted_in(work).number == number
    assert done == ["this", "after"]


def test_signals_are_put_off_again_after_what_they_may_act_on():
    done = []

    def work(interrupts):
        with interrupts.acted_on():
            done.append("this")
        send(signal.SIGTERM)
        done.append("after")

    interrupted_in(work)
    assert done == ["this", "after"]


def fail_in_what_may_be_acted_on():
    with interrupts_lib.Interrupts() as interrupts, interrupts.acted_on():
        raise UserError("disk full")


def test_error_in_what_signals_may_act_on_is_raised():
    with pytest.raises(UserError, match="disk full"):
        fail_in_what_may_be_acted_on()


def test_other_threads_change_no_handler(handlers):
    found = []

    def run():
        with interrupts_lib.Interrupts(), interrupts_lib.fatal():
            found.extend(map(signal.getsignal, SIGNALS))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert found == [handlers, handlers]


def test_fatal_signals_are_those_of_the_system():
    with interrupts_lib.fatal():
        assert [signal.getsignal(n) for n in SIGNALS] == [signal.SIG_DFL] * 2


# Through training.


@pytest.fixture
def config(tiny_config, monkeypatch):
    tiny_config.average_decay = 0.9
    tiny_config.updates = 5
    tiny_config.checkpoint_every = 4
    tiny_config.sample_every = 0
    return tiny_config


@pytest.fixture
def run(tmp_path):
    return workdir_lib.Workdir(tmp_path / "run")


def at_update(monkeypatch, update, function):
    """Calls a function at the end of an update, before what is kept of it."""
    end = callbacks.StopOnNonFinite.on_train_batch_end

    def end_and_call(self, batch, logs=None):
        end(self, batch, logs)
        if self.step == update:
            function()

    monkeypatch.setattr(
        callbacks.StopOnNonFinite, "on_train_batch_end", end_and_call
    )


@pytest.mark.slow
def test_stopped_run_goes_on_to_the_same_weights(
    config, run, tmp_path, monkeypatch
):
    for update, number in ((3, signal.SIGTERM), (4, signal.SIGINT)):
        with monkeypatch.context() as patch:
            at_update(patch, update, functools.partial(send, number))
            message = f"saved after update {update}; run again to go on"
            with pytest.raises(Interrupted, match=message) as caught:
                train_lib.train(config, run)
        assert caught.value.number == number
        assert checkpoint.latest_step(run.checkpoints) == update
    continued = train_lib.train(config, run)
    whole = train_lib.train(config, workdir_lib.Workdir(tmp_path / "whole"))
    for a, b in zip(whole.weights, continued.weights, strict=True):
        np.testing.assert_array_equal(a, b, err_msg=a.path)
    steps = [row["step"] for row in files.read_rows(run.train_log)]
    assert steps == [2, 4]


@pytest.mark.slow
def test_signal_saves_nothing_after_a_loss_that_is_not_finite(
    config, run, monkeypatch
):
    config.optimizer.learning_rate = 3e38
    config.checkpoint_every = 0
    config.log_every = config.updates = 50
    at_update(monkeypatch, 4, functools.partial(send, signal.SIGTERM))
    with pytest.raises(UserError, match=r"^[dg]_loss is \S+ at update 4;"):
        train_lib.train(config, run)
    assert not run.has_checkpoint()


@pytest.mark.slow
def test_second_signal_stops_a_run_at_once(config, run, monkeypatch):
    def send_two():
        send(signal.SIGTERM)
        send(signal.SIGINT)

    at_update(monkeypatch, 3, send_two)
    with pytest.raises(Interrupted, match="nothing is lost that was saved"):
        train_lib.train(config, run)
    assert not run.has_checkpoint()


@pytest.mark.slow
@pytest.mark.parametrize("before", [False, True], ids=["in it", "before"])
def test_signal_stops_scoring_and_the_scores_are_made_later(
    config, run, monkeypatch, before
):
    done = []

    class Scorer(small.Scorer):
        def generated(self, sampler, step):
            if not (done or before):
                done.append("begun")
                send(signal.SIGTERM)
            done.append("scored")
            return super().generated(sampler, step)

    monkeypatch.setattr(scoring, "maker", lambda *args: Scorer)
    config.updates = config.evaluate_every = 4
    with monkeypatch.context() as patch:
        if before:
            at_update(patch, 4, functools.partial(send, signal.SIGTERM))
        with pytest.raises(Interrupted, match="saved after update 4"):
            train_lib.train(config, run)
    assert "scored" not in done
    assert files.read_rows(run.scores) == []
    train_lib.train(config, run)
    steps = [row["step"] for row in files.read_rows(run.scores)]
    assert steps == [4, 4, 4]
