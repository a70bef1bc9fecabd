"""Results remember which data they were computed from, and refuse others."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from normbench.datasets.content import Content
from normbench.errors import ResultsError
from normbench.results.contents import (
    Recorded,
    RunsByData,
    check_contents,
    read_contents,
    record_contents,
    record_renewed,
)
from normbench.results.load import load
from normbench.workflow import prepare_plan
from tests.support import TINY, edit, study_of, sweep

DIGITS, PHOTOS = '{"items": 9, "name": "digits"}', '{"name": "dogs-vs-cats", "path": ""}'
MONDAY, TUESDAY = Content("p/1", "m", "Pillow 1"), Content("p/1", "t", "Pillow 1")
STORED = frozenset({"r1", "r2", "r3"})


def record(folder: Path, contents: dict[str, Content]) -> None:
    record_contents(folder, check_contents(folder, contents))


def check(folder: Path, content: Content, planned=("r1", "r2"), anew=None):
    chosen = None if anew is None else frozenset(anew)
    runs = RunsByData({PHOTOS: STORED}, frozenset(planned), chosen)
    return check_contents(folder, {PHOTOS: content}, lambda: runs)[PHOTOS]


def test_other_content_is_refused_with_the_ways_out(tmp_path: Path) -> None:
    record(tmp_path, {PHOTOS: MONDAY})
    assert check(tmp_path, MONDAY) == Recorded(MONDAY)
    for other in (TUESDAY, replace(MONDAY, key="p/2")):
        with pytest.raises(
            ResultsError, match=r"dogs-vs-cats is not the one .* with --results"
        ) as e:
            check(tmp_path, other)
        assert "--recompute" in str(e.value)
    with pytest.raises(ResultsError, match="by Pillow 2, then by Pillow 1"):
        check(tmp_path, replace(TUESDAY, read_by="Pillow 2"))


def test_where_no_result_would_be_mixed_other_data_are_taken(tmp_path: Path) -> None:
    record(tmp_path, {PHOTOS: MONDAY})
    assert check_contents(tmp_path, {PHOTOS: TUESDAY})[PHOTOS].content == TUESDAY
    # what is stored and not planned any more stays marked: it may be planned again
    found = check(tmp_path, TUESDAY, planned=("new",))
    record_contents(tmp_path, {PHOTOS: found})
    with pytest.raises(ResultsError, match=r"1 runs in .* were computed from earlier data"):
        check(tmp_path, TUESDAY, planned=("new", "r3"))


def test_results_whose_record_is_gone_are_not_taken_for_checked(tmp_path: Path) -> None:
    assert check(tmp_path, MONDAY).key_until
    assert not check_contents(tmp_path, {PHOTOS: MONDAY})[PHOTOS].key_until


def test_further_data_sets_are_added_and_earlier_ones_stay(tmp_path: Path) -> None:
    record(tmp_path, {PHOTOS: MONDAY})
    record(tmp_path, {DIGITS: TUESDAY})
    assert read_contents(tmp_path) == {PHOTOS: Recorded(MONDAY), DIGITS: Recorded(TUESDAY)}


def test_computing_anew_takes_all_runs_or_is_refused(tmp_path: Path) -> None:
    record(tmp_path, {PHOTOS: MONDAY})
    with pytest.raises(ResultsError, match="--only leaves 1 out"):
        check(tmp_path, TUESDAY, anew=("r1",))
    found = check(tmp_path, TUESDAY, anew=("r1", "r2"))
    assert found == Recorded(TUESDAY, STORED)
    record_contents(tmp_path, {PHOTOS: found})
    record_renewed(tmp_path, ["r1"])  # it was interrupted
    with pytest.raises(ResultsError, match="wait to be computed anew: use a new folder"):
        check(tmp_path, TUESDAY)
    assert check(tmp_path, TUESDAY, anew=("r2",)).earlier == {"r2", "r3"}
    with pytest.raises(ResultsError, match="is not the one"):  # the earlier data, brought back
        check(tmp_path, MONDAY)
    record_renewed(tmp_path, ["r2", "r3"])
    assert check(tmp_path, TUESDAY) == Recorded(TUESDAY)


def test_an_earlier_versions_record_is_kept_and_completed(tmp_path: Path) -> None:
    (tmp_path / "data.json").write_text(json.dumps({PHOTOS: "p/1", DIGITS: "d"}), encoding="utf-8")
    with pytest.raises(ResultsError, match="is not the one"):
        check(tmp_path, replace(MONDAY, key="p/2"))
    found = check(tmp_path, MONDAY)
    assert found.content == MONDAY
    assert found.key_until
    record_contents(tmp_path, {PHOTOS: found})
    assert check(tmp_path, MONDAY) == found
    assert json.loads((tmp_path / "data.json").read_text(encoding="utf-8"))[DIGITS] == "d"
    with pytest.raises(ResultsError, match="is not the one"):
        check(tmp_path, TUESDAY)


def test_what_was_skipped_is_stored_without_places(tmp_path: Path) -> None:
    content = replace(
        MONDAY, skipped=7, files=9, named={"a.jpg": "empty file"}, reasons={"empty file": 7},
        listed_in="/home/someone/cache/x.skipped.txt",
    )  # fmt: skip
    record(tmp_path, {PHOTOS: content})
    assert "someone" not in (tmp_path / "data.json").read_text(encoding="utf-8")
    assert read_contents(tmp_path)[PHOTOS].content == replace(content, listed_in="x.skipped.txt")


DAMAGED = ["", "[]", "{", '{"checksum": "sha256:00", "x": 1}', json.dumps({PHOTOS: [1]})]


@pytest.mark.parametrize("content", DAMAGED)
def test_a_damaged_record_refuses_and_stays(tmp_path: Path, content: str) -> None:
    path = tmp_path / "data.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ResultsError, match=r"data.json is damaged .* unchecked"):
        record(tmp_path, {PHOTOS: MONDAY})
    assert path.read_text(encoding="utf-8") == content


def test_a_sweep_on_changed_data_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    sweep(TINY, tmp_path)
    (name, content), *_ = prepare_plan(study_of(TINY)).contents.items()
    path = tmp_path / "data.json"
    assert read_contents(tmp_path) == {name: Recorded(content)}
    stored = json.loads(path.read_text(encoding="utf-8"))
    edit(path, **{name: stored[name] | {"sha256": "of other photos"}})
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    with pytest.raises(ResultsError, match="the data set digits is not the one"):
        sweep(TINY, tmp_path)
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before
    assert len(load(tmp_path).runs) == 8
