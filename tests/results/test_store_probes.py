"""The table of probes in a results folder: read, merged and kept as the others are."""

from __future__ import annotations

import json

import pyarrow.parquet as pq
import pytest

from normbench.results.schema import arrow_schema, to_table
from normbench.results.store import ORDER
from normbench.results.tables import write_file
from tests.results.stored import PROBED, TABLES, CrashError, contents, crash_at, curve, unmerged
from tests.support import TINY, edit, made_up, plan_of, status_counts


def test_without_probes_there_is_no_such_file_and_an_empty_table(tmp_path):
    store, planned = unmerged(tmp_path / "r")
    store.consolidate(planned.rows)
    assert not list(store.folder.rglob("*probes*"))
    assert store.read("probes").schema.equals(arrow_schema("probes"))
    assert store.read("probes").num_rows == 0


def test_parts_of_probes_are_read_like_merged_ones_and_stand_in_the_plans_order(tmp_path):
    store, planned = unmerged(tmp_path / "r", text=PROBED)
    before = contents(store)
    assert len(before["probes"]["value"]) == 8 * 2 * 2
    store.consolidate(planned.rows)
    assert contents(store) == before
    assert list(store.parts.iterdir()) == []
    wanted = [run.run_hash for run in planned.runs]
    assert list(dict.fromkeys(store.read("probes")["run_hash"].to_pylist())) == wanted
    content = store.path("probes").read_bytes()
    store.consolidate(planned.rows)
    assert store.path("probes").read_bytes() == content


@pytest.mark.parametrize("k", range(1, 13))
def test_a_crash_at_any_step_of_merging_loses_and_doubles_no_probes(tmp_path, monkeypatch, k):
    store, planned = unmerged(tmp_path / "r", groups=2, text=PROBED)
    before = contents(store)
    with monkeypatch.context() as patch:
        steps = crash_at(patch, k)
        with pytest.raises(CrashError):
            store.consolidate(planned.rows)
    assert [s.split(".")[0] for s in steps[:4]] == list(ORDER)[: len(steps)]
    assert contents(store) == before
    store.clean()
    store.consolidate(planned.rows)
    assert contents(store) == before


@pytest.mark.parametrize("merged", [True, False])
def test_a_run_that_lost_some_of_its_probes_counts_as_not_run(tmp_path, merged):
    store, planned = unmerged(tmp_path / "r", text=PROBED)
    lost = planned.runs[2].run_hash
    if merged:
        store.consolidate(planned.rows)
        rows = store.read("probes").to_pylist()
        gone = next(i for i, row in enumerate(rows) if row["run_hash"] == lost)
        table = to_table("probes", rows[:gone] + rows[gone + 1 :])
        write_file(store.path("probes"), table.schema, [table])
    else:
        (store.parts / "000002.probes.parquet").unlink()
    store.consolidate(planned.rows)
    assert status_counts(store.folder) == {"finished": 7, "missing": 1}
    assert lost not in store.read("probes")["run_hash"].to_pylist()
    assert lost not in store.read("epochs")["run_hash"].to_pylist()


def test_probes_of_runs_that_are_no_longer_planned_are_kept(tmp_path):
    store = made_up(tmp_path / "r", PROBED, curve)
    store.consolidate(plan_of(TINY).rows)
    assert status_counts(store.folder, planned=False) == {"finished": 8}
    assert store.read("probes").num_rows == 32
    store.consolidate(plan_of(PROBED).rows)
    assert status_counts(store.folder, planned=True) == {"finished": 8}


def test_results_of_before_there_were_probes_are_read_and_kept(tmp_path):
    store, planned = unmerged(tmp_path / "r")
    store.consolidate(planned.rows)
    old = {"normbench_schema": "1"}
    for name in TABLES:
        table = store.read(name)
        gone = [c for c in ("probes", "probe_seconds", "probe_values") if c in table.column_names]
        pq.write_table(table.drop_columns(gone).replace_schema_metadata(old), store.path(name))
    study = store.folder / "protocol.json"
    content = json.loads(study.read_text(encoding="utf-8"))
    for series in content["study"]["experiments"]:
        for cell in series["cells"]:
            del cell["probes"]
    edit(study, schema_version=1, study=content["study"])
    assert store.read_study() == planned.study
    assert store.read("runs")["probe_values"].null_count == 8
    store.consolidate(planned.rows)
    assert status_counts(store.folder) == {"finished": 8}
