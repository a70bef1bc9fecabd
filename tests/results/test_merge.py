"""Merging a bounded number of rows at a time: the same tables, whatever their size."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from normbench.results import merge, pieces
from normbench.results.store import Store
from normbench.results.tables import write_file
from tests.results.stored import PROBED, contents, curve, unmerged
from tests.support import TINY, made_up_rows, plan_of, status_counts


def rows_at_once(monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    monkeypatch.setattr(pieces, "ROWS", {})
    monkeypatch.setattr(pieces, "_ROWS", rows)
    monkeypatch.setattr(merge, "_ROWS", rows)


@pytest.mark.parametrize("rows", [1, 3, 7])
def test_tables_are_the_same_however_many_rows_are_held_at_once(tmp_path, monkeypatch, rows):
    whole, planned = unmerged(tmp_path / "whole", text=PROBED)
    whole.consolidate(planned.rows)
    store, _ = unmerged(tmp_path / "r", text=PROBED)
    rows_at_once(monkeypatch, rows)
    for _ in range(2):
        store.consolidate(planned.rows)
        for table in ("runs", "epochs", "predictions", "probes"):
            assert store.read(table).equals(whole.read(table)), table
        groups = pq.ParquetFile(store.path("epochs")).num_row_groups
        assert groups == -(-16 // max(2, -(-rows // 2) * 2))  # of runs with two rows each


def test_a_run_that_lies_in_two_row_groups_is_kept_whole(tmp_path):
    store, planned = unmerged(tmp_path / "r")
    before = contents(store)
    store.consolidate(planned.rows)
    path = store.path("epochs")
    table = pq.read_table(path)
    pieces = [table.slice(start, 3) for start in range(0, table.num_rows, 3)]
    write_file(path, table.schema, pieces)
    store.consolidate(planned.rows)
    assert contents(store) == before


def test_added_seeds_stand_between_those_that_were_there(tmp_path, monkeypatch):
    rows_at_once(monkeypatch, 4)
    store, planned = unmerged(tmp_path / "r")
    store.consolidate(planned.rows)
    more = plan_of(TINY.replace("seeds = 2", "seeds = 5"))
    known = {run.run_hash for run in planned.runs}
    added = [run for run in more.runs if run.run_hash not in known]
    for number, run in enumerate(added):
        store.write_group(f"{number:06d}", made_up_rows(run, *curve(run)))
    store.consolidate(more.rows)
    wanted = [run.run_hash for run in more.runs]
    assert store.read("runs")["run_hash"].to_pylist() == wanted
    assert list(dict.fromkeys(store.read("epochs")["run_hash"].to_pylist())) == wanted
    assert status_counts(store.folder) == {"finished": 20}


def test_what_was_lost_of_a_run_no_longer_planned_is_said(tmp_path):
    store, planned = unmerged(tmp_path / "r")
    store.consolidate(planned.rows)
    epochs = store.read("epochs")
    lost = planned.runs[-1]
    kept = epochs.filter(pa.compute.field("run_hash") != lost.run_hash)
    write_file(store.path("epochs"), kept.schema, [kept])
    store.consolidate(plan_of(TINY.replace("seeds = 2", "seeds = 1")).rows)
    rows = {row["run_hash"]: row for row in store.read("runs").to_pylist()}
    assert len(rows) == 8
    assert [row["planned"] for row in rows.values()] == [True] * 4 + [False] * 4
    assert rows[lost.run_hash]["status"] == "missing"
    assert rows[lost.run_hash]["parameters"] is rows[lost.run_hash]["seconds"] is None
    assert [row["status"] for row in rows.values()].count("finished") == 7


def spent(folder: Path, seeds: int) -> tuple[int, int, int]:
    """Runs, and the most bytes of Arrow's and of Python's that merging them took."""
    planned = plan_of(TINY.replace("seeds = 2", f"seeds = {seeds}"))
    store = Store(folder)
    store.write_study(planned.study, TINY)
    store.consolidate(planned.rows)
    for number, start in enumerate(range(0, len(planned.runs), 20)):
        group: dict[str, list[Any]] = {"runs": [], "epochs": [], "predictions": [], "probes": []}
        for run in planned.runs[start : start + 20]:
            for table, rows in made_up_rows(run, "finished", [0.1] * 10).items():
                group[table] += rows
        store.write_group(f"{number:06d}", group)
    before, pool = pa.default_memory_pool(), pa.proxy_memory_pool(pa.system_memory_pool())
    pa.set_memory_pool(pool)
    tracemalloc.start()
    try:
        store.consolidate(planned.rows)
        return len(planned.runs), pool.max_memory(), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        pa.set_memory_pool(before)


def test_memory_of_merging_grows_by_a_few_hashes_a_run_alone(tmp_path, monkeypatch):
    rows_at_once(monkeypatch, 200)
    few, arrow, python = spent(tmp_path / "few", 50)
    many, more_arrow, more_python = spent(tmp_path / "many", 200)
    added = many - few
    # whole tables in memory took 4,700 and 6,800 bytes a run
    assert (more_arrow - arrow) / added < 500
    assert (more_python - python) / added < 1500
