import os

import pytest

from sngan_tf import files
from sngan_tf.errors import UserError
from sngan_tf.errors import first_line
from sngan_tf.errors import writing


def test_file_takes_its_place_at_the_end(tmp_path):
    path = tmp_path / "new" / "folder" / "grid.png"
    with files.replacing(path) as temporary:
        assert temporary.suffix == ".png"
        assert temporary.parent == path.parent
        temporary.write_text("new")
        assert not path.exists()
    assert path.read_text() == "new"
    assert [*path.parent.iterdir()] == [path]


def test_path_may_be_text(tmp_path):
    with files.replacing(f"{tmp_path}/a.txt") as temporary:
        temporary.write_text("new")
    assert (tmp_path / "a.txt").read_text() == "new"


def write_and_fail(path):
    with files.replacing(path) as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt


@pytest.mark.parametrize("before", [None, "old"])
def test_what_ends_half_way_leaves_what_was_there(tmp_path, before):
    path = tmp_path / "a.txt"
    if before:
        path.write_text(before)
    with pytest.raises(KeyboardInterrupt):
        write_and_fail(path)
    assert [p.read_text() for p in tmp_path.iterdir()] == [before][
        : bool(before)
    ]


def test_nothing_written_is_an_error_and_leaves_what_was_there(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(FileNotFoundError), files.replacing(path):
        pass
    assert path.read_text() == "old"


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(28, "No space left on device"), "No space left on device"),
        (PermissionError(13, "Permission denied"), "Permission denied"),
        (OSError("odd"), "odd"),
    ],
)
def test_what_a_disk_refuses_is_one_line(error, reason):
    with pytest.raises(UserError) as caught, writing("runs/a/train.jsonl"):
        raise error
    assert str(caught.value) == (
        f"runs/a/train.jsonl can't be written ({reason}); what was saved "
        "before is kept"
    )
    assert caught.value.__cause__ is error


def test_other_errors_are_left_as_they_are():
    with pytest.raises(ZeroDivisionError), writing("a.txt"):
        raise ZeroDivisionError


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("one\ntwo"), "one"),
        (ValueError("\n one \n"), "one"),
        (ValueError(), "ValueError"),
        (OSError(os.strerror(28)), "No space left on device"),
    ],
)
def test_first_line_of_an_error(error, line):
    assert first_line(error) == line


def test_what_killed_processes_left_is_forgotten(tmp_path):
    gone, ours, anothers = 2**22 + 1, os.getpid(), os.getppid()
    folder = tmp_path / "below"
    folder.mkdir()
    kept = [".lock", ".unfinished", "1-a.png", f".{anothers}-a.png"]
    for name in [*kept, f".{gone}-a.png", f".{ours}-a.png"]:
        (folder / name).touch()
    files.forget_unfinished(tmp_path)
    assert sorted(path.name for path in folder.iterdir()) == sorted(kept)
