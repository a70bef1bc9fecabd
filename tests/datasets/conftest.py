"""Every test of data sets has a cache of its own, and makes the photos it needs."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

PHOTOS_VARIABLE = "NORMBENCH_TEST_PHOTOS"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache's folder (not there yet); no other of the user's settings is seen."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("NORMBENCH_CACHE", str(folder))
    for name in ("NORMBENCH_DATA", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    return folder


@pytest.fixture(scope="session")
def photos() -> Path:
    """A folder of real photos, ``cat.1.jpg`` and so on, where this machine has one."""
    beside = Path(__file__).resolve().parents[3] / "shared" / "data" / "dogs-vs-cats"
    folder = Path(os.environ.get(PHOTOS_VARIABLE) or beside)
    if not folder.is_dir():
        pytest.skip(f"no photos here: set {PHOTOS_VARIABLE} to a folder of cat.N.jpg, dog.N.jpg")
    return folder


def picture(number: int, size: tuple[int, int] = (40, 30)) -> Image.Image:
    """A small picture of its own for every number."""
    rng = np.random.default_rng(number)
    coarse = Image.fromarray(rng.integers(0, 256, (4, 5, 3), dtype=np.uint8))
    return coarse.resize(size, Image.Resampling.BICUBIC)


def save(path: Path, number: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture(number).save(path)
    return path


def _flat(root: Path, n: int) -> None:
    for i in range(n):
        save(root / f"cat.{i}.jpg", 2 * i)
        save(root / f"dog.{i}.jpg", 2 * i + 1)


def _kaggle(root: Path, n: int) -> None:
    _flat(root / "train", n)
    save(root / "test1" / "1.jpg")


def _microsoft(root: Path, n: int) -> None:
    for i in range(n):
        save(root / "PetImages" / "Cat" / f"{i}.jpg", 2 * i)
        save(root / "PetImages" / "Dog" / f"{i}.jpg", 2 * i + 1)
    (root / "readme[1].txt").write_text("hello", encoding="utf-8")


def _classes(root: Path, n: int) -> None:
    for i in range(n):
        save(root / "cats" / f"{i}.png", 2 * i)
        save(root / "dogs" / f"{i}.png", 2 * i + 1)


LAYOUTS: dict[str, Callable[[Path, int], None]] = {
    "flat": _flat, "kaggle": _kaggle, "microsoft": _microsoft, "classes": _classes,
}  # fmt: skip
