"""The results folder: what is committed stays, what is damaged is told and mended."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from normbench.errors import ResultsError, WorkError
from normbench.results import files
from normbench.results.schema import SCHEMA_VERSION, arrow_schema
from normbench.results.store import ORDER, Store, latest_results
from tests.results.stored import PROBED, TABLES, CrashError, contents, crash_at, curve, unmerged
from tests.support import TINY, edit, made_up, made_up_rows, plan_of, status_counts


@pytest.fixture
def expected(tmp_path: Path) -> dict[str, Any]:
    return contents(made_up(tmp_path / "expected", TINY, curve))


# -- reading and merging -----------------------------------------------------------------------


def test_parts_are_read_like_merged_tables(tmp_path, expected):
    store, planned = unmerged(tmp_path / "r")
    assert contents(store) == expected
    store.consolidate(planned.rows)
    assert contents(store) == expected
    assert list(store.parts.iterdir()) == []


def test_consolidating_again_changes_no_byte(tmp_path):
    store, planned = unmerged(tmp_path / "r")
    store.consolidate(planned.rows)
    before = {t: store.path(t).read_bytes() for t in TABLES}
    store.consolidate(planned.rows)
    assert {t: store.path(t).read_bytes() for t in TABLES} == before


def test_rows_stand_in_the_plans_order_whatever_order_the_groups_finished_in(tmp_path):
    planned = plan_of(TINY)
    store = Store(tmp_path / "r")
    for number, run in enumerate(reversed(planned.runs)):
        store.write_group(f"{number:06d}", made_up_rows(run, *curve(run)))
    store.consolidate(planned.rows)
    wanted = [run.run_hash for run in planned.runs]
    assert store.read("runs")["run_hash"].to_pylist() == wanted
    assert list(dict.fromkeys(store.read("epochs")["run_hash"].to_pylist())) == wanted
    assert store.read("predictions")["run_hash"].to_pylist() == wanted


def test_a_later_result_of_a_run_replaces_the_earlier_one(tmp_path):
    store, planned = unmerged(tmp_path / "r")
    store.consolidate(planned.rows)
    run = planned.runs[0]
    store.write_group("000000", made_up_rows(run, "finished", [0.5, 0.75, 1.0]))
    for _ in range(2):
        own = store.read("epochs").filter(pa.compute.field("run_hash") == run.run_hash)
        assert own["val_accuracy"].to_pylist() == [0.5, 0.75, 1.0]
        assert store.read("runs").num_rows == len(planned.runs)
        store.consolidate(planned.rows)


def test_a_group_without_its_runs_part_counts_as_not_run(tmp_path):
    store, planned = unmerged(tmp_path / "r", groups=3)
    (store.parts / "000001.runs.parquet").unlink()
    lost = planned.runs[1].run_hash
    assert lost not in store.read("epochs")["run_hash"].to_pylist()
    assert lost not in store.read("predictions")["run_hash"].to_pylist()
    store.consolidate(planned.rows)
    assert lost not in store.read("epochs")["run_hash"].to_pylist()
    assert status_counts(store.folder) == {"finished": 2, "missing": 6}
    assert list(store.parts.iterdir()) == []


def test_a_run_of_two_experiments_stays_in_both_before_and_after_merging(tmp_path):
    twice = TINY + TINY[TINY.index("[[experiment]]") :].replace('"one"', '"two"')
    planned = plan_of(twice)
    store = Store(tmp_path / "r")
    store.write_study(planned.study, twice)
    store.consolidate(planned.rows)
    for number, run in enumerate(planned.runs[:8]):
        store.write_group(f"{number:06d}", made_up_rows(run, *curve(run)))
    for _ in range(2):
        assert status_counts(store.folder, experiment="one") == {"finished": 8}
        assert status_counts(store.folder, experiment="two") == {"finished": 8}
        store.consolidate(planned.rows)
    assert store.read("epochs").num_rows == 16


def test_runs_that_are_no_longer_planned_are_kept_and_marked(tmp_path):
    store = made_up(tmp_path / "r", TINY, curve)
    fewer = plan_of(TINY.replace("seeds = 2", "seeds = 1"))
    store.consolidate(fewer.rows)
    rows = store.read("runs").to_pylist()
    assert [row["planned"] for row in rows] == [True] * 4 + [False] * 4
    assert {row["seed"] for row in rows if not row["planned"]} == {1}
    assert store.read("epochs").num_rows == 16
    store.consolidate(plan_of(TINY).rows)
    assert status_counts(store.folder, planned=True) == {"finished": 8}


def test_a_folder_named_like_a_partition_gains_no_column(tmp_path):
    store = made_up(tmp_path / "norm=batch" / "seed=9", TINY, curve)
    assert store.read("runs").schema.equals(arrow_schema("runs"))
    assert set(store.read("runs")["seed"].to_pylist()) == {0, 1}


# -- crashes -----------------------------------------------------------------------------------


def test_the_crash_test_meets_every_step(tmp_path, monkeypatch):
    store, planned = unmerged(tmp_path / "r", groups=2)
    with monkeypatch.context() as patch:
        steps = crash_at(patch, 0)
        store.consolidate(planned.rows)
    names = ["epochs", "predictions", "runs"]
    assert [s.split(".")[0] for s in steps[:3]] == names
    assert steps[3:] == [f"00000{g}.{t}.parquet" for g in range(2) for t in names]


@pytest.mark.parametrize("k", range(1, 10))
def test_a_crash_at_any_step_of_merging_loses_and_doubles_nothing(tmp_path, monkeypatch, k):
    store, planned = unmerged(tmp_path / "r", groups=2)
    before = contents(store)
    with monkeypatch.context() as patch:
        crash_at(patch, k)
        with pytest.raises(CrashError):
            store.consolidate(planned.rows)
    assert contents(store) == before
    store.clean()
    store.consolidate(planned.rows)
    assert contents(store) == before
    assert sorted(p.name for p in store.folder.rglob("*.parquet")) == [
        "epochs.parquet", "predictions.parquet", "runs.parquet",
    ]  # fmt: skip
    assert list(store.folder.rglob("*.tmp")) == []


@pytest.mark.parametrize(
    ("text", "k"), [*((TINY, k) for k in range(1, 4)), *((PROBED, k) for k in range(1, 5))]
)
def test_a_crash_while_a_group_is_written_keeps_the_groups_before_it(
    tmp_path, monkeypatch, text, k
):
    store, planned = unmerged(tmp_path / "r", groups=1, text=text)
    before = contents(store)
    run = planned.runs[1]
    with monkeypatch.context() as patch:
        crash_at(patch, k)
        with pytest.raises(CrashError):
            store.write_group("000001", made_up_rows(run, *curve(run)))
    assert contents(store) == before
    store.clean()
    store.consolidate(planned.rows)
    assert contents(store) == before


def test_the_commit_record_is_written_last(tmp_path, monkeypatch):
    store, planned = unmerged(tmp_path / "r", groups=0)
    steps = crash_at(monkeypatch, 0)
    store.write_group("000000", made_up_rows(planned.runs[0], "finished", [0.1, 0.2]))
    assert [s.split(".")[1] for s in steps] == [t for t in ORDER if t != "probes"]
    assert ORDER[-1] == "runs"


@pytest.mark.parametrize("fault", ["write", "fsync", "rename"])
@pytest.mark.parametrize("k", [1, 2, 3])
def test_a_full_disk_keeps_what_was_committed(tmp_path, monkeypatch, fault, k):
    store, planned = unmerged(tmp_path / "r", groups=2)
    before = contents(store)
    with monkeypatch.context() as patch:
        fail_at(patch, fault, k)
        with pytest.raises(WorkError, match="No space left on device"):
            store.consolidate(planned.rows)
    assert contents(store) == before
    assert list(store.folder.rglob("*.tmp")) == []
    store.consolidate(planned.rows)
    assert contents(store) == before


def fail_at(monkeypatch: pytest.MonkeyPatch, fault: str, k: int) -> None:
    """From the ``k``-th file on, writing, syncing or renaming fails for want of room."""
    import errno

    where, name = {
        "write": (pq.ParquetWriter, "write_table"),
        "fsync": (files.os, "fsync"),
        "rename": (Path, "replace"),
    }[fault]
    real, count = getattr(where, name), [0]
    per_file = 2 if fault == "fsync" else 1  # the file and its folder

    def failing(*arguments: Any, **keywords: Any) -> Any:
        count[0] += 1
        if count[0] > (k - 1) * per_file:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(*arguments, **keywords)

    monkeypatch.setattr(where, name, failing)


def test_a_file_where_the_parts_belong_gets_a_message(tmp_path):
    store, planned = unmerged(tmp_path / "r", groups=0)
    store.parts.write_text("not a folder", encoding="utf-8")
    with pytest.raises(WorkError, match="parts"):
        store.write_group("000000", made_up_rows(planned.runs[0], "finished", [0.1, 0.2]))


# -- the protocol ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"\xff\xfe\x00", b"null", b"[1, 2]", b"{}", b'"text"',
     b'{"schema_version": 1}', b'{"schema_version": "x", "study": {}}',
     b'{"schema_version": 1, "study": {"name": "x"}}', b'{"schema_version": 1, "study": null}'],
)  # fmt: skip
def test_a_damaged_protocol_is_told_in_one_way(tmp_path, content):
    store = made_up(tmp_path / "r", TINY, curve)
    (store.folder / "protocol.json").write_bytes(content)
    with pytest.raises(ResultsError, match=r"protocol\.json is damaged.*normbench run"):
        store.read_study()


def test_a_protocol_of_a_newer_version_is_refused(tmp_path):
    store = made_up(tmp_path / "r", TINY, curve)
    path = store.folder / "protocol.json"
    edit(path, schema_version=SCHEMA_VERSION + 1, study={"unknown": "layout"})
    with pytest.raises(ResultsError, match=r"newer normbench.*upgrade"):
        store.read_study()


def test_an_empty_folder_holds_no_results(tmp_path):
    with pytest.raises(ResultsError, match="holds no results"):
        Store(tmp_path).read_study()
    assert Store(tmp_path).read("runs").num_rows == 0


def test_the_study_comes_back_as_it_was_stored(tmp_path):
    store = made_up(tmp_path / "r", TINY, curve)
    assert store.read_study() == plan_of(TINY).study
    assert (store.folder / "protocol.toml").read_text(encoding="utf-8") == TINY


def test_the_latest_results_are_those_written_last(tmp_path):
    import os

    with pytest.raises(ResultsError, match="no results under"):
        latest_results(tmp_path)
    for age, name in enumerate(("b", "c", "a")):
        made_up(tmp_path / name, TINY, curve)
        os.utime(tmp_path / name / "protocol.json", (1000 - age, 1000 - age))
    assert latest_results(tmp_path).name == "b"
