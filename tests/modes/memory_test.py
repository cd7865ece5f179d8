import pathlib
import re

import pytest

from sngan_tf.modes import train as train_lib
from sngan_tf.runs import callbacks
from sngan_tf.runs import workdir as workdir_lib


def resident():
    """Returns what this process holds in memory, in MiB."""
    status = pathlib.Path("/proc/self/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024


@pytest.mark.slow
def test_long_run_holds_no_more_memory(tiny_config, tmp_path, monkeypatch):
    held = []
    score = callbacks.Scores.score

    def watched(scores, step):
        score(scores, step)
        held.append(resident())

    monkeypatch.setattr(callbacks.Scores, "score", watched)
    tiny_config.updates = 800
    tiny_config.steps_per_execution = 20
    for field in ("log", "sample", "checkpoint", "evaluate"):
        tiny_config[f"{field}_every"] = 20
    train_lib.train(tiny_config, workdir_lib.Workdir(tmp_path / "run"))
    assert len(held) == 40
    # A MiB for each evaluation, checkpoint and grid would be 30.
    assert max(held[-5:]) - min(held[8:13]) < 25
