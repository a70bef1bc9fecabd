"""Files are whole or not there at all."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import pytest

from normbench.errors import UnreadableResultsError, WorkError
from normbench.results import files
from normbench.results.files import (
    DamagedError,
    atomic_write,
    make_folder,
    read_object,
    write_object,
    write_text,
)
from tests.support import edit


def refuse(*_, **__):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_file_is_replaced_and_nothing_else_is_left(tmp_path):
    path = tmp_path / "a.txt"
    for text in ("first", "zweite — ü", ""):
        write_text(path, text)
        assert path.read_text(encoding="utf-8") == text
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("step", ["write", "fsync", "rename"])
def test_a_failing_step_leaves_the_old_content(tmp_path, monkeypatch, step):
    path = tmp_path / "a.txt"
    path.write_text("old", encoding="utf-8")
    write = (lambda file: file.write(b"new")) if step != "write" else refuse
    with monkeypatch.context() as patch:
        if step == "fsync":
            patch.setattr(files.os, "fsync", refuse)
        if step == "rename":
            patch.setattr(Path, "replace", refuse)
        with pytest.raises(WorkError, match=r"cannot write .*a\.txt: No space left on device"):
            atomic_write(path, write)
    assert path.read_text(encoding="utf-8") == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_content_reaches_the_disk_before_the_name(tmp_path, monkeypatch):
    order = []
    sync, replace = os.fsync, Path.replace
    monkeypatch.setattr(files.os, "fsync", lambda d: (order.append("fsync"), sync(d))[1])
    monkeypatch.setattr(
        Path, "replace", lambda self, to: (order.append("rename"), replace(self, to))[1]
    )
    write_text(tmp_path / "a.txt", "x")
    assert order == ["fsync", "rename", "fsync"]  # the file, its name, the folder that holds it


def test_a_half_written_temporary_file_is_removed(tmp_path):
    def half(file):
        file.write(b"half")
        refuse()

    with pytest.raises(WorkError):
        atomic_write(tmp_path / "a.txt", half)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("place", ["nowhere/a.txt", "file/a.txt", "folder"])
def test_a_place_that_cannot_be_written_is_told(tmp_path, place):
    (tmp_path / "file").write_text("x", encoding="utf-8")
    (tmp_path / "folder").mkdir()
    with pytest.raises(WorkError, match="cannot write"):
        write_text(tmp_path / place, "x")


def test_a_bug_in_the_writer_is_no_disk_error(tmp_path):
    def broken(path):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        atomic_write(tmp_path / "a.txt", broken)
    assert not (tmp_path / "a.txt").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_a_really_full_device_is_told(tmp_path):
    link = tmp_path / "a.txt"
    link.symlink_to("/dev/full")
    for path in (link, Path("/dev/full")):
        with pytest.raises(WorkError, match="No space left on device"):
            write_text(path, "x" * 10_000)
    assert link.is_symlink()
    assert Path("/dev/full").is_char_device()


def test_a_folder_is_made_with_its_parents_or_refused(tmp_path):
    make_folder(tmp_path / "a" / "b")
    make_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()
    (tmp_path / "file").write_text("x", encoding="utf-8")
    for place in ("file", "file/below"):
        with pytest.raises(WorkError, match="cannot make the folder"):
            make_folder(tmp_path / place)


# -- links, pipes and devices: written to, never replaced -----------------------------------------


def test_a_link_stays_and_what_it_names_is_replaced(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    target, link = tmp_path / "elsewhere" / "page", tmp_path / "link"
    link.symlink_to(target)
    for text in ("first", "second"):  # there is nothing at its end at first
        write_text(link, text)
        assert link.is_symlink()
        assert target.read_text(encoding="utf-8") == text
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["elsewhere", "link", "page"]


def test_a_link_that_leads_nowhere_is_told(tmp_path):
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    with pytest.raises(WorkError, match="cannot write"):
        write_text(tmp_path / "a", "x")
    assert (tmp_path / "a").is_symlink()


def test_a_pipe_is_written_to(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    reader.start()
    write_text(pipe, "a page")
    reader.join()
    assert read == [b"a page"]
    assert pipe.is_fifo()


# -- objects -------------------------------------------------------------------------------------


def test_an_object_is_read_as_it_was_written(tmp_path):
    path = tmp_path / "a.json"
    assert read_object(path, "x") is None
    content = {"b": [1, 0.1, float("inf"), None], "ä": {"name": "\udcff"}, "a": 1}
    write_object(path, content)
    assert read_object(path, "x") == content
    write_object(path, {**content, "more": 1})
    assert read_object(path, "x") == {**content, "more": 1}


@pytest.mark.parametrize(
    "content", [b"[]", b"1", b"", b"\xff", b'{"a"', b"[" * 100_000, b'{"checksum": 3}']
)
def test_what_is_no_object_is_damaged_and_not_absent(tmp_path, content):
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(DamagedError, match=r"a\.json is damaged .* move it away: then all is lost"):
        read_object(path, "then all is lost")


def test_a_changed_object_is_told_and_one_without_checksum_taken(tmp_path):
    path = tmp_path / "a.json"
    write_object(path, {"rate": 0.1})
    path.write_text(path.read_text(encoding="utf-8").replace("0.1", "0.2"), encoding="utf-8")
    with pytest.raises(DamagedError, match=r"damaged .or edited.*take the line 'checksum' out"):
        read_object(path, "then x")
    edit(path)
    assert read_object(path, "then x") == {"rate": 0.2}


def test_what_the_system_withholds_is_neither_damaged_nor_absent(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    write_object(path, {})
    for error in (errno.EACCES, errno.EIO, errno.EMFILE):

        def withhold(*_, code=error, **__):
            raise OSError(code, os.strerror(code))

        with monkeypatch.context() as patch:
            patch.setattr(files.os, "open", withhold)
            with pytest.raises(UnreadableResultsError, match=r"cannot be read.*left as it is"):
                read_object(path, "x")
    (tmp_path / "folder.json").mkdir()
    os.mkfifo(tmp_path / "pipe.json")
    for name in ("folder.json", "pipe.json"):
        with pytest.raises(UnreadableResultsError, match="no regular file"):
            read_object(tmp_path / name, "x")
