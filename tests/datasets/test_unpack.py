"""Archives that lead elsewhere, link, swell or are damaged are refused, and nothing stays."""

from __future__ import annotations

import stat
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from normbench.datasets import unpack as module
from normbench.datasets.unpack import changed, unpack
from normbench.errors import WorkError

FILES = {"PetImages/Cat/0.jpg": b"cat", "PetImages/Dog/0.jpg": b"dog" * 100, "readme[1].txt": b""}


def archive(folder: Path, files: dict[str, bytes] = FILES) -> Path:
    path = folder / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        made.mkdir("PetImages")
        for name, content in files.items():
            made.writestr(name, content)
    return path


def test_files_are_unpacked_and_listed(tmp_path: Path) -> None:
    goal, told = tmp_path / "pets", []
    assert unpack(archive(tmp_path), goal, lambda *x: told.append(x)) == 3
    for name, content in FILES.items():
        assert (goal / name).read_bytes() == content
    assert told[-1] == (303, 303)
    assert changed(goal) == (3, {})
    (goal / "PetImages/Cat/0.jpg").write_bytes(b"cot")
    (goal / "PetImages/Dog/0.jpg").unlink()
    found = changed(goal)
    assert found is not None
    assert found[1] == {
        "PetImages/Cat/0.jpg": "its bytes have changed",
        "PetImages/Dog/0.jpg": "No such file or directory",
    }
    assert changed(tmp_path) is None
    (goal / module.LIST).write_text("[1]")
    with pytest.raises(WorkError, match="cannot be read"):
        changed(goal)


def _named(name: str) -> Callable[[Path], Path]:
    return lambda folder: archive(folder, {**FILES, name: b"x"})


def _link(folder: Path) -> Path:
    path = archive(folder)
    info = zipfile.ZipInfo("PetImages/Cat/link.jpg")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(path, "a") as made:
        made.writestr(info, "/etc/passwd")
    return path


def _patched(old: bytes, new: bytes) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        path = archive(folder)
        content = path.read_bytes()
        assert old in content
        path.write_bytes(content.replace(old, new))
        return path

    return make


def _bomb(folder: Path) -> Path:
    return archive(folder, {f"{i}.jpg": bytes(1 << 23) for i in range(4)})


def _encrypted(folder: Path) -> Path:
    path = archive(folder)
    content = bytearray(path.read_bytes())
    place = content.rindex(b"PK\x01\x02")
    content[place + 8] |= 1
    path.write_bytes(content)
    return path


def _damaged(folder: Path) -> Path:
    path = archive(folder, {"a.jpg": b"a picture"})
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as made:
        start = made.getinfo("a.jpg").header_offset + 30 + 5 + 2
    content[start] ^= 0xFF
    path.write_bytes(content)
    return path


def _cut(folder: Path) -> Path:
    path = archive(folder)
    path.write_bytes(path.read_bytes()[:-30])
    return path


def _larger_than_it_says(folder: Path) -> Path:
    path = archive(folder)
    content = bytearray(path.read_bytes())
    place = content.index(b"PK\x01\x02", content.index(b"PK\x01\x02") + 4)
    content[place + 24 : place + 28] = (1 << 30).to_bytes(4, "little")
    path.write_bytes(content)
    return path


BAD: dict[str, tuple[Callable[[Path], Path], str]] = {
    "up": (_named("../evil.jpg"), r"'\.\./evil\.jpg' in it leads elsewhere"),
    "up within": (_named("PetImages/../../evil.jpg"), "leads elsewhere"),
    "absolute": (_named("/tmp/evil.jpg"), "leads elsewhere"),
    "backslash": (_named("a\\..\\evil.jpg"), "leads elsewhere"),
    "drive": (_named("C:evil.jpg"), "leads elsewhere"),
    "null": (_patched(b"readme[1].txt", b"readme[1]\0.jp"), "leads elsewhere"),
    "long": (_named("x" * 300), "leads elsewhere"),
    "link": (_link, "link.jpg is a link or a device"),
    "twice": (_named("petimages/CAT/0.JPG"), "two of its files are called"),
    "below a file": (_named("readme[1].txt/x.jpg"), "is below a file"),
    "bomb": (_bomb, "its files would have 33,554,432 bytes"),
    "encrypted": (_encrypted, "is encrypted"),
    "larger": (_larger_than_it_says, "has 1,073,741,824 bytes"),
    "damaged": (_damaged, "cannot be unpacked"),
    "cut": (_cut, "cannot be unpacked"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_archive_is_refused_and_leaves_nothing(tmp_path: Path, name: str) -> None:
    make, said = BAD[name]
    (tmp_path / "in").mkdir()
    path = make(tmp_path / "in")
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")}
    with pytest.raises(WorkError, match=said):
        unpack(path, tmp_path / "pets")
    after = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")}
    assert after.keys() == before.keys()


def test_too_many_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_FILES", 3)
    with pytest.raises(WorkError, match="it has 4 files"):
        unpack(archive(tmp_path), tmp_path / "pets")
