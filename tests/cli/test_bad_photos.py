"""Photos that cannot be used: refused, or skipped with a word."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from tests.cli.refusals import DATA, SIZES, everything, refused
from tests.datasets.conftest import LAYOUTS, picture, save
from tests.support import TINY, status_counts

# -- photos ------------------------------------------------------------------------------------


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder for photos, and ``photos.toml`` that trains on what is in it."""
    monkeypatch.setenv("NORMBENCH_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "photos"
    folder.mkdir()
    data = f'{{ name = "image-folder", path = "{folder}", resolution = 32 }}'
    text = TINY.replace(DATA, data).replace(SIZES, "[2]").replace('"tiny"', '"photos"')
    (tmp_path / "photos.toml").write_text(text, encoding="utf-8")
    return folder


def _one_class(folder: Path) -> None:
    for i in range(4):
        save(folder / f"cat.{i}.jpg", i)


def _one_class_readable(folder: Path) -> None:
    LAYOUTS["classes"](folder, 3)
    for path in (folder / "cats").iterdir():
        path.write_bytes(b"no image")


def _none_readable(folder: Path) -> None:
    LAYOUTS["flat"](folder, 3)
    for path in folder.iterdir():
        path.write_bytes(path.read_bytes()[:40])


def _a_file(folder: Path) -> None:
    folder.rmdir()
    folder.write_bytes(b"PK")


def _too_deep(folder: Path) -> None:
    LAYOUTS["classes"](folder / "data" / "all", 2)


def _unlabelled(folder: Path) -> None:
    for i in range(5):
        save(folder / f"{i}.jpg", i)


def _mixed(folder: Path) -> None:
    LAYOUTS["flat"](folder, 2)
    LAYOUTS["classes"](folder, 2)


FOLDERS: dict[str, tuple[Callable[[Path], None], list[str]]] = {
    "absent": (Path.rmdir, ["image-folder is not on this machine", "there is no folder", "path"]),
    "empty": (lambda folder: None, ["there is no image in", "found nothing", "one folder per class",
                                    "likely fix: unpack the photos there"]),
    "a file": (_a_file, ["must be a folder; received the file", "likely fix: unpack it"]),
    "one class": (_one_class, ["at least two classes", "(cat: 4)", "likely fix: add the other"]),
    "one class readable": (_one_class_readable, ["readable images of one class only",
                                                 "cats: 0, dogs: 3", "likely fix"]),
    "none readable": (_none_readable, ["none of the 6 image files", "likely fix: get them again"]),
    "too deep": (_too_deep, ["wrong layout", "likely fix: give the folder that holds the classes",
                             "data"]),
    "no class in the names": (_unlabelled, ["5 of 5 image files have no class in their names",
                                            "likely fix"]),
    "two layouts": (_mixed, ["mixed layouts", "likely fix: keep one"]),
}  # fmt: skip


@pytest.mark.parametrize("kind", FOLDERS)
def test_photos_that_cannot_be_a_data_set_are_refused(cli, photos, tmp_path, kind):
    make, words = FOLDERS[kind]
    make(photos)
    refused(cli("run", "photos.toml", "--workers", "0"), *words)
    assert not (tmp_path / "results").exists()
    assert list((tmp_path / "cache").glob("*.images")) == []


def test_a_folder_of_photos_that_cannot_be_read_is_refused(cli, photos, tmp_path, monkeypatch):
    LAYOUTS["flat"](photos, 2)
    real = os.scandir

    def guarded(path):
        if Path(path) == photos:
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", guarded)
    said = cli("run", "photos.toml", "--workers", "0")
    refused(said, f"the folder {photos} cannot be read (Permission denied)", "likely fix: allow")
    assert not (tmp_path / "results").exists()


def test_more_photos_than_there_are_is_refused(cli, photos, tmp_path):
    LAYOUTS["flat"](photos, 3)
    override = f'dataset={{ name = "image-folder", path = "{photos}", items = 7 }}'
    said = cli("plan", "photos.toml", "--set", override)
    refused(said, "must not exceed the 6 items of image-folder; received items = 7", "likely fix")
    assert not (tmp_path / "results").exists()


def test_bad_photos_are_skipped_with_a_word_and_the_others_used(cli, photos):
    LAYOUTS["classes"](photos, 4)
    whole = (photos / "cats" / "0.png").read_bytes()
    (photos / "cats" / "cut.png").write_bytes(whole[: len(whole) // 2])
    (photos / "dogs" / "page.jpg").write_text("<html>not found</html>", encoding="utf-8")
    (photos / "dogs" / "nothing.jpg").write_bytes(b"")
    before = everything(photos)
    said = cli("run", "photos.toml", "--workers", "0", "--seeds", "1")
    assert said.status == 0, said.err
    told = " ".join(f"{said.out} {said.err}".split())
    assert "3 of 11 files" in told
    assert "skipped" in told
    for name in ("cats/cut.png", "dogs/page.jpg", "dogs/nothing.jpg"):
        assert name in told
    assert status_counts(Path("results/photos")) == {"finished": 2}
    assert everything(photos) == before


def test_odd_photos_are_photos(cli, photos, caplog):
    for i, name in enumerate(("cats", "dogs")):
        folder = photos / name
        folder.mkdir()
        image = picture(i)
        Image.new("RGB", (1, 1), (9, 8, 7)).save(folder / "one-pixel.png")
        image.convert("L").save(folder / "grey.jpg")
        image.convert("CMYK").save(folder / "cmyk.jpg")
        palette = image.convert("P", palette=Image.Palette.ADAPTIVE)
        palette.save(folder / "palette.png")
        palette.save(folder / "transparent.png", transparency=b"\x00\x80")
        image.convert("RGBA").save(folder / "alpha.png")
        turned = Image.Exif()
        turned[0x0112] = 6
        image.save(folder / "turned.jpg", exif=turned)
    said = cli("run", "photos.toml", "--workers", "0", "--seeds", "1")
    assert said.status == 0, said.err
    assert caplog.text == ""
    assert status_counts(Path("results/photos")) == {"finished": 2}
