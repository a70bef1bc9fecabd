"""Changed data are refused, or computed anew as a whole; what was skipped is said."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from normbench.datasets import digits
from normbench.errors import ResultsError
from normbench.results.contents import read_contents
from normbench.results.load import load
from normbench.workflow import prepare_plan
from normbench.workflow.data import data_notes
from tests.support import TINY, study_of, sweep


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of bitmaps, all of one size."""
    monkeypatch.setenv("NORMBENCH_CACHE", str(tmp_path / "cache"))
    for number in range(20):
        fill(tmp_path / "pics" / "ab"[number % 2] / f"{number}.bmp", number)
    return tmp_path / "pics"


def fill(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (36, 40, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def protocol(photos: Path) -> str:
    data = f'{{ name = "image-folder", path = "{photos}", resolution = 32 }}'
    return TINY.replace('{ name = "digits", items = 100 }', data).replace("[8, 16]", "[2]")


def test_photos_of_equal_name_size_and_time_are_told_apart(tmp_path, photos):
    text, folder = protocol(photos), tmp_path / "results"
    sweep(text, folder)
    path = photos / "a" / "0.bmp"
    times = path.stat()
    fill(path, 99)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert path.stat().st_size == times.st_size
    with pytest.raises(ResultsError, match=r"--results.*--recompute"):
        sweep(text, folder)
    with pytest.raises(ResultsError, match="--only leaves 2 out"):
        sweep(text, folder, only=["norm=batch"], recompute=True)
    assert sweep(text, folder, recompute=True).computed == 4
    (record,) = read_contents(folder).values()
    assert record.earlier == frozenset()
    assert sweep(text, folder).computed == 0


def test_moved_photos_are_the_same_data(tmp_path, photos):
    before = prepare_plan(study_of(protocol(photos))).contents
    photos.rename(tmp_path / "elsewhere")
    after = prepare_plan(study_of(protocol(tmp_path / "elsewhere"))).contents
    assert [c.sha256 for c in before.values()] == [c.sha256 for c in after.values()]


def test_numbers_that_come_with_a_library_are_content(tmp_path, monkeypatch):
    sweep(TINY, tmp_path)
    images, labels = digits.read_digits()
    monkeypatch.setattr(digits, "read_digits", lambda: (np.flip(images, axis=2), labels))
    with pytest.raises(ResultsError, match="the data set digits is not the one"):
        sweep(TINY, tmp_path)


def test_what_was_skipped_is_noted_and_stored(tmp_path, photos):
    (photos / "a" / "666.bmp").write_bytes(b"")
    text, folder = protocol(photos), tmp_path / "results"
    (note,) = data_notes(prepare_plan(study_of(text)).contents)
    assert "1 of 21 files" in note
    assert "a/666.bmp: empty file" in note
    sweep(text, folder)
    (record,) = load(folder).contents.values()
    assert record.content.reasons == {"empty file": 1}
