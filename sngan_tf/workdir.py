"""The folder of one run: where things lie, and what may be written there."""

import contextlib
import fcntl
import json
import logging
import os
import pathlib
import socket

import ml_collections

from sngan_tf import files
from sngan_tf.errors import UserError
from sngan_tf.errors import writing

_LOGGER = logging.getLogger(__name__)

# Fields that a run may change when it goes on; any other makes another run.
_FREE = frozenset(
    (
        "updates",
        "deterministic",
        "distribution",
        "data.directory",
        "log_every",
        "checkpoint_every",
        "sample_every",
        "evaluate_every",
        "keep_checkpoints",
        "keep_checkpoints_hours",
        "steps_per_execution",
        "data.streaming",
        "data.on_bad_image",
        "checkpoint",
    )
)
# Fields whose 0, "as the data are", was resolved when the run began.
_RESOLVED = ("data.channels", "data.num_classes")
_FREE_SECTIONS = ("evaluation.", "sampling.")


class Workdir:
    """Paths and records of a run.

    Args:
        path: The folder; made by `prepare`.
    """

    def __init__(self, path):
        self.path = pathlib.Path(path)
        self.config = self.path / "config.json"
        self.checkpoints = self.path / "checkpoints"
        self.best = self.checkpoints / "best"
        self.tensorboard = self.path / "tensorboard"
        self.train_log = self.path / "train.jsonl"
        self.scores = self.path / "scores.jsonl"
        self.samples = self.path / "samples"
        self.generator = self.path / "export" / "generator"
        self._lock = self.path / ".lock"

    def check(self, config):
        """Refuses a config that the saved training can't go on with.

        Raises:
            UserError: Naming the fields that differ.
        """
        if not self.has_checkpoint():
            return
        saved = _flat(self.saved_config())
        given = _flat(_plain(config))
        for field in _RESOLVED:
            if not given[field]:
                given[field] = saved.get(field)
        differing = [
            f"{field} (saved {saved.get(field)!r}, given {given.get(field)!r})"
            for field in sorted(saved.keys() | given.keys())
            if saved.get(field) != given.get(field) and not _is_free(field)
        ]
        decay_from = given["optimizer.decay_from"]
        if decay_from >= 0 and saved.get("updates") != given["updates"]:
            differing.append(
                f"updates (saved {saved.get('updates')}, given "
                f"{given['updates']}), to which the learning rate decays"
            )
        if differing:
            raise UserError(
                f"{self.path} holds a run of another config; give another "
                f"--workdir. Differing: {', '.join(differing)}"
            )

    def saved_config(self):
        """Returns the resolved config of the run, as nested dicts.

        Raises:
            UserError: If it is missing or damaged.
        """
        try:
            return json.loads(self.config.read_text())
        except (OSError, ValueError) as error:
            raise UserError(
                f"{self.config} is missing or damaged; put back the config of "
                "this run, or give another --workdir"
            ) from error

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
        write_text(self.config, json.dumps(_plain(config), indent=2) + "\n")

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
            UserError: If another run does.
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
                raise UserError(
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

    def add_scores(self, rows):
        """Adds the rows that `scores.jsonl` doesn't hold already, or none."""
        known = read_rows(self.scores)
        new = [row for row in rows if row not in known]
        write_text(self.scores, "".join(map(_line, known + new)))

    def forget_after(self, step):
        """Drops the log lines of updates that a resumed run does again."""
        if self.train_log.exists():
            kept = [
                row for row in read_rows(self.train_log) if row["step"] <= step
            ]
            write_text(self.train_log, "".join(map(_line, kept)))


def append_row(path, row):
    """Appends one JSON object as a line."""
    with writing(path), path.open("ab+") as file:
        if file.tell():
            file.seek(-1, os.SEEK_END)
            if file.read() != b"\n":  # A half-written row.
                file.write(b"\n")
        file.write(_line(row).encode())


def read_rows(path):
    """Returns the rows of a `.jsonl` file, none if there is no such file.

    Half-written ones are left out.
    """
    rows = []
    if not path.exists():
        return rows
    for line in path.read_text().splitlines():
        with contextlib.suppress(ValueError):
            rows.append(json.loads(line))
    return rows


def write_text(path, text):
    """Writes a file at once or not at all."""
    with writing(path), files.replacing(path) as temporary:
        temporary.write_text(text)


def _line(row):
    return json.dumps(row) + "\n"


def _plain(config):
    if isinstance(config, ml_collections.ConfigDict):
        config = config.to_dict()
    return json.loads(json.dumps(config))


def _flat(config, prefix=""):
    flat = {}
    for key, value in config.items():
        if isinstance(value, dict):
            flat.update(_flat(value, f"{prefix}{key}."))
        else:
            flat[prefix + key] = value
    return flat


def _is_free(field):
    return field in _FREE or field.startswith(_FREE_SECTIONS)
