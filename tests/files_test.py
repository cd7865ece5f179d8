import concurrent.futures
import ctypes
import errno
import fcntl
import logging
import os
import sys
import threading
import time

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


# Writers of one file.


def test_two_writers_share_no_temporary(tmp_path):
    path = tmp_path / "a.txt"
    with files.replacing(path) as one, files.replacing(path) as other:
        assert one != other
        one.write_text("one")
        other.write_text("other")
    assert path.read_text() == "one"


def test_second_writer_waits_and_finds_what_the_first_made(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    path, made = tmp_path / "new" / "a.txt", []
    barrier = threading.Barrier(4)

    def make():
        barrier.wait()
        with files.one_writer(path):
            if not path.exists():
                made.append(path)
                wait_for(lambda: caplog.text.count("Waiting for another") == 3)
                files.write_text(path, "whole")
        assert path.read_text() == "whole"

    with concurrent.futures.ThreadPoolExecutor() as threads:
        for future in [threads.submit(make) for _ in range(4)]:
            future.result()
    assert len(made) == 1
    assert [*path.parent.iterdir()] == [path]


def wait_for(condition):
    for _ in range(1000):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("waited in vain")


def test_writers_of_other_files_do_not_wait(tmp_path):
    with (
        files.one_writer(tmp_path / "a.txt"),
        files.one_writer(tmp_path / "b.txt"),
    ):
        pass
    assert not [*tmp_path.iterdir()]


def test_what_killed_writers_left_is_deleted_a_day_later(tmp_path):
    path = tmp_path / "below" / "a[1].txt"
    with files.replacing(path) as left:
        left.write_text("whole")
    hexadecimal = "0123456789abcdef" * 2
    of_a_living_one = left.with_name(f".{hexadecimal}-{path.name}")
    of_another = left.with_name(f".{hexadecimal}-b.txt")
    kept = {path, of_a_living_one, path.with_name(".not-ours.txt")}
    for file in [left, of_another, *kept]:
        file.write_text("half")
        age = 0 if file == of_a_living_one else 25 * 60 * 60
        os.utime(file, (time.time() - age,) * 2)
    with files.one_writer(path):
        pass
    assert {*path.parent.iterdir()} == {*kept, of_another}
    files.forget_left(tmp_path)
    assert {*path.parent.iterdir()} == kept


def test_where_there_are_no_locks_all_go_on(tmp_path, monkeypatch, caplog):
    def refuse(file, operation):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    path = tmp_path / "a.txt"
    with files.one_writer(path), files.replacing(path) as one:
        one.write_text("one")
        with files.one_writer(path):
            assert one.exists()
    assert path.read_text() == "one"
    assert "can't be locked: [Errno 37] No locks available" in caplog.text


def test_error_of_a_writer_lets_the_next_one_in(tmp_path):
    for _ in range(2):
        with pytest.raises(KeyError), files.one_writer(tmp_path / "a.txt"):
            raise KeyError


# Folders.


def replace(folder, content):
    with files.replacing_folder(folder) as temporary:
        (temporary / "model").write_text(content)
        (temporary / content).touch()


def test_folder_takes_its_place_at_the_end(tmp_path):
    folder = tmp_path / "new" / "folder"
    for content in ("first", "second", "third"):
        replace(folder, content)
        assert (folder / "model").read_text() == content
        assert {path.name for path in folder.iterdir()} == {"model", content}
        assert [*folder.parent.iterdir()] == [folder]


def test_folder_is_whole_at_every_moment(tmp_path):
    folder, seen = tmp_path / "folder", []
    replace(folder, "old")

    def look(*event):
        seen.append((folder / "model").read_text())

    sys.setprofile(look)
    try:
        replace(folder, "new")
    finally:
        sys.setprofile(None)
    assert {*seen} == {"old", "new"}


def test_folder_is_replaced_where_two_cannot_be_exchanged(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    test_folder_takes_its_place_at_the_end(tmp_path)


def test_folder_behind_a_link_is_replaced(tmp_path):
    (tmp_path / "target").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "target")
    replace(tmp_path / "link", "new")
    assert (tmp_path / "target" / "model").read_text() == "new"
    assert (tmp_path / "link").is_symlink()


def replace_and_fail(folder):
    with files.replacing_folder(folder) as temporary:
        (temporary / "half").touch()
        raise KeyboardInterrupt


def test_folder_that_fails_leaves_what_was_there(tmp_path):
    replace(tmp_path / "folder", "old")
    with pytest.raises(KeyboardInterrupt):
        replace_and_fail(tmp_path / "folder")
    assert [*tmp_path.iterdir()] == [tmp_path / "folder"]
    assert (tmp_path / "folder" / "model").read_text() == "old"


def test_two_writers_of_a_folder_wait_for_each_other(tmp_path):
    folder, names = tmp_path / "folder", [str(i) for i in range(8)]

    def write(content):
        for _ in range(10):
            with files.replacing_folder(folder) as temporary:
                for name in names:
                    (temporary / name).write_text(content)
            # Or the other deletes the folder that is being listed.
            with files.one_writer(folder):
                seen = {p.name: p.read_text() for p in folder.iterdir()}
            assert seen in [dict.fromkeys(names, by) for by in "ab"]

    with concurrent.futures.ThreadPoolExecutor() as threads:
        for future in [threads.submit(write, content) for content in "ab"]:
            future.result()
    assert [*tmp_path.iterdir()] == [tmp_path / "folder"]
