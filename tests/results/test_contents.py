"""Results remember which data they were computed from, and refuse others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from normbench.errors import ResultsError
from normbench.results.contents import check_contents, read_contents, record_contents
from normbench.results.load import load
from normbench.workflow import prepare_plan
from tests.support import TINY, edit, study_of, sweep

DIGITS, PHOTOS = '{"items": 9, "name": "digits"}', '{"name": "dogs-vs-cats", "path": ""}'


def test_other_content_is_refused_and_told(tmp_path: Path) -> None:
    record_contents(tmp_path, {PHOTOS: "monday"})
    check_contents(tmp_path, {PHOTOS: "monday", DIGITS: "any"})
    with pytest.raises(ResultsError, match=r"dogs-vs-cats is not the one .* with --results"):
        check_contents(tmp_path, {PHOTOS: "tuesday"})


def test_further_data_sets_are_added_and_earlier_ones_stay(tmp_path: Path) -> None:
    record_contents(tmp_path, {PHOTOS: "a"})
    record_contents(tmp_path, {DIGITS: "b"})
    assert read_contents(tmp_path) == {PHOTOS: "a", DIGITS: "b"}


@pytest.mark.parametrize("content", ["", "[]", "{", '{"checksum": "sha256:00", "x": 1}'])
@pytest.mark.parametrize("use", [check_contents, record_contents])
def test_a_damaged_record_refuses_and_stays(tmp_path: Path, use: Any, content: str) -> None:
    path = tmp_path / "data.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ResultsError, match=r"data.json is damaged .* unchecked"):
        use(tmp_path, {PHOTOS: "a"})
    assert path.read_text(encoding="utf-8") == content


def test_a_record_of_an_older_version_has_no_checksum(tmp_path: Path) -> None:
    (tmp_path / "data.json").write_text(json.dumps({PHOTOS: "a"}), encoding="utf-8")
    with pytest.raises(ResultsError, match="must not be"):
        check_contents(tmp_path, {PHOTOS: "b"})
    record_contents(tmp_path, {DIGITS: "b"})
    assert "checksum" in json.loads((tmp_path / "data.json").read_text(encoding="utf-8"))


def test_a_sweep_on_changed_data_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    sweep(TINY, tmp_path)
    (name, key), *_ = prepare_plan(study_of(TINY)).contents.items()
    path = tmp_path / "data.json"
    assert read_contents(tmp_path) == {name: key}
    edit(path, **{name: "other photos"})
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    with pytest.raises(ResultsError, match="the data set digits is not the one"):
        sweep(TINY, tmp_path)
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before
    assert len(load(tmp_path).runs) == 8
