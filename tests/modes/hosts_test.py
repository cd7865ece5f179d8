"""Two hosts, as two processes on this one, that lose each other and go on."""

import contextlib
import json
import re
import signal
import socket
import time

import forked
import pytest
import small

from configs import digits
from sngan_tf import files
from sngan_tf import networks
from sngan_tf.modes.train import train
from sngan_tf.runs import workdir as workdir_lib

TINY = {
    "data.image_size": 8,
    "data.batch_size": 8,
    "data.shift": 1,
    "network.width": 0.04,
    "log_every": 1,
    "checkpoint_every": 2,
    "keep_checkpoints": 1,
    "sample_every": 0,
    "evaluate_every": 0,
    "evaluation.samples": 20,
    "evaluation.features": "inception",
}
FOREVER = 1_000_000
# Seconds, several times what is needed, after which a test fails.
TO_START, TO_END = 120, 60


def free_addresses():
    with contextlib.ExitStack() as sockets:
        opened = [sockets.enter_context(socket.socket()) for _ in range(2)]
        for each in opened:
            each.bind(("127.0.0.1", 0))
        return [f"127.0.0.1:{each.getsockname()[1]}" for each in opened]


class Hosts:
    """The chief and a worker, in one folder; a context that ends both."""

    def __init__(self, folder, updates, *arguments):
        self.folder = folder
        self.run = folder / "run"
        fields = {**TINY, "updates": updates, "distribution": "multi_worker"}
        flags = [
            "--workdir=run",
            *(f"--config.{name}={value}" for name, value in fields.items()),
            *arguments,
        ]
        self.addresses = free_addresses()
        self.processes = []
        for index in range(2):
            task = {"type": "worker", "index": index}
            cluster = {"worker": self.addresses}
            environment = {
                "SNGAN_TF_CACHE": str(folder / "cache"),
                "TF_NUM_INTRAOP_THREADS": "1",
                "TF_NUM_INTEROP_THREADS": "1",
                "TF_CONFIG": json.dumps({"cluster": cluster, "task": task}),
            }
            said = self._said(index)
            said.unlink(missing_ok=True)
            self.processes.append(
                forked.start(
                    folder, flags, said, said, environment, small_networks=True
                )
            )

    def __enter__(self):
        return self

    def __exit__(self, *error):
        for process in self.processes:
            process.kill()
            process.join()

    def train_on(self):
        """Waits until there is a checkpoint that was not there before."""
        before, began = last_checkpoint(self.run), time.monotonic()
        while last_checkpoint(self.run) <= before:
            for index, process in enumerate(self.processes):
                assert process.is_alive(), self.said(index)
            assert time.monotonic() - began < TO_START, self.said(0)
            time.sleep(0.05)

    def ends(self, timeout=TO_END):
        """Returns the exit codes."""
        for process in self.processes:
            process.join(timeout)
        return [process.exitcode for process in self.processes]

    def said(self, index):
        return self._said(index).read_text().replace("\r", "\n")

    def error(self, index):
        said = self.said(index)
        assert "Traceback" not in said
        lines = [x for x in said.splitlines() if x.startswith("main.py: ")]
        assert len(lines) == 1, said
        return lines[0]

    def began_at(self, index):
        found = re.search(r"Training from update (\d+) to", self.said(index))
        return int(found[1])

    def _said(self, index):
        return self.folder / f"said_by_{index}"


def last_checkpoint(run):
    paths = (run / "checkpoints").glob("step-*.index")
    return max((int(path.stem.partition("-")[2]) for path in paths), default=0)


@pytest.mark.slow
def test_run_outlives_the_loss_of_a_worker_and_a_signal(
    tmp_path, monkeypatch, inception
):
    with Hosts(tmp_path, FOREVER, "--mode=train") as hosts:
        hosts.train_on()
        hosts.processes[1].kill()
        assert hosts.ends() == [1, -signal.SIGKILL]
        assert f"Host {hosts.addresses[1]} has ended" in hosts.error(0)
    saved = last_checkpoint(hosts.run)

    # As a machine that is taken away gets it.
    with Hosts(tmp_path, FOREVER, "--mode=train") as hosts:
        hosts.train_on()
        hosts.processes[1].terminate()
        assert hosts.ends() == [128 + signal.SIGTERM] * 2
        stopped = last_checkpoint(hosts.run)
        for index in range(2):
            assert hosts.began_at(index) == saved
            assert f"saved after update {stopped};" in hosts.error(index)

    updates = stopped // 2 * 2 + 2
    scored_by = f"--config.evaluation.inception={inception}"
    with Hosts(tmp_path, updates, scored_by) as hosts:
        assert hosts.ends(TO_START) == [0, 0], hosts.said(0)
        assert hosts.began_at(0) == stopped
        chief, _ = hosts.processes
    assert last_checkpoint(hosts.run) == updates
    assert (hosts.run / "export/generator/1/saved_model.pb").is_file()
    # The chief alone has written.
    assert (hosts.run / ".lock").read_text().startswith(f"process {chief.pid} ")
    assert len([*hosts.run.glob("tensorboard/events.*")]) == 3
    scores = files.read_rows(workdir_lib.Workdir(hosts.run).scores)
    assert len({row["metric"] for row in scores}) == len(scores) > 0

    # The first loss is that of the same weights, pictures and latents. Then
    # Adam divides gradients by themselves, rounding errors and all.
    monkeypatch.setattr(networks, "build", small.build)
    one, other = (
        files.read_rows(workdir_lib.Workdir(path).train_log)
        for path in (hosts.run, alone(tmp_path / "alone"))
    )
    assert [row["step"] for row in one] == [*range(1, updates + 1)]
    assert one[0]["d_loss"] == pytest.approx(other[0]["d_loss"], abs=1e-6)
    for name in ("d_loss", "g_loss"):
        assert one[1][name] == pytest.approx(other[1][name], abs=1e-3)


def alone(path):
    """Trains without other hosts; returns the path."""
    config = digits.get_config()
    fields = {**TINY, "updates": 2, "distribution": "one_device"}
    with config.unlocked():
        config.update_from_flattened_dict(fields)
    train(config, workdir_lib.Workdir(path))
    return path
