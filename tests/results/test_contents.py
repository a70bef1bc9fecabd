"""Results remember which data they were computed from, and refuse others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from normbench.errors import ResultsError
from normbench.results.contents import check_contents, record_contents
from normbench.results.load import load
from normbench.workflow import prepare_plan
from tests.support import TINY, study_of, sweep

DIGITS, PHOTOS = '{"items": 9, "name": "digits"}', '{"name": "dogs-vs-cats", "path": ""}'


def test_other_content_is_refused_and_told(tmp_path: Path) -> None:
    record_contents(tmp_path, {PHOTOS: "monday"})
    check_contents(tmp_path, {PHOTOS: "monday", DIGITS: "any"})
    with pytest.raises(ResultsError, match=r"dogs-vs-cats is not the one .* with --results"):
        check_contents(tmp_path, {PHOTOS: "tuesday"})


def test_further_data_sets_are_added_and_earlier_ones_stay(tmp_path: Path) -> None:
    record_contents(tmp_path, {PHOTOS: "a"})
    record_contents(tmp_path, {DIGITS: "b"})
    stored = json.loads((tmp_path / "data.json").read_text(encoding="utf-8"))
    assert stored == {PHOTOS: "a", DIGITS: "b"}


@pytest.mark.parametrize("content", ["", "[]", "{", '{"x": 1}'])
def test_a_damaged_record_stops_nothing(tmp_path: Path, content: str) -> None:
    (tmp_path / "data.json").write_text(content, encoding="utf-8")
    check_contents(tmp_path, {PHOTOS: "a"})
    record_contents(tmp_path, {PHOTOS: "a"})
    with pytest.raises(ResultsError, match="must not be"):
        check_contents(tmp_path, {PHOTOS: "b"})


def test_a_sweep_on_changed_data_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    sweep(TINY, tmp_path)
    (name, key), *_ = prepare_plan(study_of(TINY)).contents.items()
    path = tmp_path / "data.json"
    assert json.loads(path.read_text(encoding="utf-8")) == {name: key}
    path.write_text(json.dumps({name: "other photos"}), encoding="utf-8")
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    with pytest.raises(ResultsError, match="the data set digits is not the one"):
        sweep(TINY, tmp_path)
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before
    assert len(load(tmp_path).runs) == 8
