"""Files are whole or not there at all."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from normbench.errors import WorkError
from normbench.results import files
from normbench.results.files import atomic_write, make_folder, read_object, write_text


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
    write = (lambda p: p.write_text("new", encoding="utf-8")) if step != "write" else refuse
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
    def half(path):
        path.write_bytes(b"half")
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
    def write(path):
        path.symlink_to("/dev/full")
        path.write_text("x" * 10_000, encoding="utf-8")

    with pytest.raises(WorkError, match="No space left on device"):
        atomic_write(tmp_path / "a.txt", write)
    assert list(tmp_path.iterdir()) == []
    assert Path("/dev/full").exists()


def test_a_folder_is_made_with_its_parents_or_refused(tmp_path):
    make_folder(tmp_path / "a" / "b")
    make_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()
    (tmp_path / "file").write_text("x", encoding="utf-8")
    for place in ("file", "file/below"):
        with pytest.raises(WorkError, match="cannot make the folder"):
            make_folder(tmp_path / place)


@pytest.mark.parametrize(
    ("content", "value"),
    [(b'{"a": 1}', {"a": 1}), (b"{}", {}), (b"[]", None), (b"1", None), (b"", None),
     (b"\xff", None), (b'{"a"', None)],
)  # fmt: skip
def test_an_object_is_read_or_none(tmp_path, content, value):
    path = tmp_path / "a.json"
    assert read_object(path) is None
    path.write_bytes(content)
    assert read_object(path) == value
