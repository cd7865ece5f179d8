"""The folder of one run: where things lie, and what may be written there."""

import contextlib
import fcntl
import json
import logging
import os
import pathlib
import shlex
import socket
import sys

from sngan_tf import files
from sngan_tf.errors import InUse
from sngan_tf.errors import UserError
from sngan_tf.errors import writing
from sngan_tf.runs import fields

_LOGGER = logging.getLogger(__name__)

# Fields whose 0 or (), "as the data are", was resolved when the run began.
_RESOLVED = ("data.channels", "data.num_classes", "data.class_names")


class Workdir:
    """Paths and records of a run.

    Args:
        path: The folder; made by `prepare`.
        config_name: What `--config` names, for what is said of it; empty if
            it isn't needed.
    """

    def __init__(self, path, config_name=""):
        self.path = pathlib.Path(path)
        self._config_name = config_name
        self.config = self.path / "config.json"
        self.checkpoints = self.path / "checkpoints"
        self.best = self.checkpoints / "best"
        self.best_scores = self.best / "scores.jsonl"
        self.tensorboard = self.path / "tensorboard"
        self.train_log = self.path / "train.jsonl"
        self.spectral_norms = self.path / "spectral_norms.jsonl"
        self.scores = self.path / "scores.jsonl"
        self.samples = self.path / "samples"
        self.spectra = self.path / "spectra"
        self.exports = self.path / "export"
        self.generator = self.exports / "generator"
        self.discriminator = self.exports / "discriminator"
        self.sessions = self.path / "sessions.jsonl"
        self.report = self.path / "report.html"
        self._lock = self.path / ".lock"

    def command(self, mode):
        """Returns the line that starts a mode on this run.

        It names the config of a new run; one that is trained knows its own.

        Args:
            mode: A value of `--mode`.
        """
        words = [*_program(), f"--mode={mode}"]
        if self._config_name and not self.has_checkpoint():
            words.append(f"--config={self._config_name}")
        return shlex.join([*words, f"--workdir={self.path}"])

    def check(self, config):
        """Refuses a config that the saved training can't go on with.

        Raises:
            UserError: Naming the fields that differ.
        """
        if not self.has_checkpoint():
            return
        saved = self._saved_values()
        given = fields.flat(_plain(config))
        for field in _RESOLVED:
            given[field] = given[field] or saved[field]
        if not given["average_decay"]:
            given["average_warmup"] = saved["average_warmup"]  # Of no effect.
        differing = [
            f"{field} (saved {saved.get(field)!r}, given {given.get(field)!r})"
            for field in fields.differences(saved, given)
        ]
        decay_from = given["optimizer.decay_from"]
        if decay_from >= 0 and saved["updates"] != given["updates"]:
            differing.append(
                f"updates (saved {saved['updates']}, given "
                f"{given['updates']}), to which the learning rate decays"
            )
        if differing:
            raise UserError(
                f"{self.path} holds a run of another config; give another "
                f"--workdir. Differing: {', '.join(differing)}"
            )

    def own_config(self):
        """Returns the config that the run goes on with, a `ConfigDict`.

        Of fields that are newer than the run it has what the run did.

        Raises:
            UserError: If there is no run, or `config.json` is damaged.
        """
        if not self.config.is_file():
            raise UserError(
                f"There is no run in {self.path}, as {self.config} is missing"
            )
        return fields.config_of(self._saved_values())

    def saved_config(self):
        """Returns the resolved config of the run, as nested dicts.

        Raises:
            UserError: If it is missing or damaged.
        """
        try:
            saved = json.loads(self.config.read_text())
            if not isinstance(saved, dict):
                raise ValueError
        except (OSError, ValueError) as error:
            raise UserError(
                f"{self.config} is missing or damaged; put back the config of "
                "this run, or give another --workdir"
            ) from error
        return saved

    def resolved(self):
        """Returns the fields, by name, that the data said when the run began.

        Raises:
            UserError: If `config.json` is missing or damaged.
        """
        saved = self._saved_values()
        return {field: saved[field] for field in _RESOLVED}

    def _saved_values(self):
        return fields.completed(fields.flat(self.saved_config()))

    def prepare(self, config):
        """Makes the folder and writes `config.json`.

        Raises:
            UserError: If it can't be written.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(
                f"`workdir` must be a folder that can be written "
                f"({error.strerror}). Received: {self.path}"
            ) from error
        files.write_text(
            self.config, json.dumps(_plain(config), indent=2) + "\n"
        )

    def check_writable(self):
        """Raises a UserError unless the folder is, or could be, written to."""
        existing = self.path
        while not existing.exists():
            existing = existing.parent
        if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
            raise UserError(
                "`workdir` must be a folder that can be written. "
                f"Received: {self.path}"
            )

    @contextlib.contextmanager
    def locked(self):
        """A context in which no other run can train here.

        Raises:
            InUse: If another run does.
        """
        with writing(self._lock):
            self.path.mkdir(parents=True, exist_ok=True)
            file = self._lock.open("a+")
        # The system lets go of it whatever becomes of the process.
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                file.seek(0)
                raise InUse(
                    f"{self.path} is in use by another run "
                    f"({file.read().strip()}); wait for it or give another "
                    "--workdir"
                ) from error
            except OSError as error:
                _LOGGER.warning(
                    "%s can't be locked (%s); see that no other run uses it",
                    self._lock,
                    error.strerror,
                )
            file.truncate(0)
            file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
            file.flush()
            yield

    def check_free(self):
        """Raises the UserErrors of `locked`, where there is a folder yet."""
        if self._lock.exists():
            with self.locked():
                pass

    def has_checkpoint(self):
        return any(self.checkpoints.glob("*.index"))

    def forget_after(self, step):
        """Drops the log lines of updates that a resumed run does again."""
        for path in (self.train_log, self.spectral_norms):
            if path.exists():
                rows = files.read_rows(path)
                kept = [row for row in rows if row["step"] <= step]
                files.write_rows(path, kept)


def _program():
    """Returns the words that start the command here."""
    name = pathlib.Path(sys.argv[0]).name
    return [name] if name == "sngan-tf" else ["python", "main.py"]


def _plain(config):
    if hasattr(config, "to_dict"):
        config = config.to_dict()
    return json.loads(json.dumps(config))
