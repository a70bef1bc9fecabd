"""Sweeps: what is planned becomes a row, what is done is kept, what is lost is computed again."""

from __future__ import annotations

import errno
import json
import re
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from filelock import FileLock

from normbench.catalog import NORMS, Entry
from normbench.errors import ResultsError, UsageError, WorkError
from normbench.executors.base import Done
from normbench.executors.inline import InlineExecutor
from normbench.results.load import load
from normbench.results.schema import MEASURED_COLUMNS, SCHEMA_VERSION
from normbench.results.store import Store
from normbench.results.tables import write_file
from tests.support import FATES, TINY, Watcher, differences, edit, status_counts, sweep, tables

MORE_SEEDS = TINY.replace("seeds = 2", "seeds = 3")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An undisturbed run of the tiny study."""
    folder = tmp_path_factory.mktemp("whole") / "tiny"
    sweep(TINY, folder)
    return folder


class InterruptAfter(Watcher):
    """Presses Ctrl-C once a number of runs are committed."""

    def __init__(self, runs: int) -> None:
        super().__init__()
        self.runs = runs

    def finished(self, rows):
        super().finished(rows)
        if len(self.rows) >= self.runs:
            raise KeyboardInterrupt


# -- what is recorded --------------------------------------------------------------------------


def test_the_share_of_the_work_that_is_done_grows_from_nothing_to_all(tmp_path):
    seen = Watcher()
    sweep(TINY, tmp_path, observer=seen)
    assert seen.shares[0] == 0.0
    assert seen.shares == sorted(seen.shares)
    assert seen.shares[-1] == pytest.approx(1.0)


def test_two_sweeps_of_one_protocol_are_identical(whole, tmp_path):
    sweep(TINY, tmp_path / "again")
    assert differences(whole, tmp_path / "again") == []


def test_the_comparison_of_folders_notices_one_bit(whole, tmp_path):
    sweep(TINY, tmp_path / "r")
    path = tmp_path / "r" / "epochs.parquet"
    table = pq.read_table(path)
    place = table.column_names.index("val_loss")
    losses = table["val_loss"].to_numpy().copy()
    losses[-1] = np.nextafter(losses[-1], 9.0)
    table = table.set_column(place, table.schema.field(place), [losses])
    write_file(path, table.schema, [table])
    assert differences(whole, tmp_path / "r") == ["epochs.val_loss"]


def test_only_wall_clock_and_memory_count_as_measured():
    assert {
        "seconds", "train_seconds", "eval_seconds", "probe_seconds", "peak_memory",
        "execution_hash", "engine", "group_size",
    } == MEASURED_COLUMNS  # fmt: skip


def test_every_planned_run_is_a_row_with_its_fate(tmp_path, monkeypatch):
    monkeypatch.setitem(
        NORMS._entries, "group",
        Entry("tests.test_workflow:raising_norm", "", params=NORMS["group"].params),
    )  # fmt: skip
    fails = '\n[[experiment]]\nname = "fails"\nnorm = "group"\nbatch_size = 8\nlearning_rate = 0.1'
    not_run = fails.replace("fails", "not-run").replace('"group"', '"layer"')
    seen = Watcher()
    summary = sweep(
        FATES + fails + not_run, tmp_path, observer=seen,
        only=["experiment=finishes,diverges,undefined,fails"],
    )  # fmt: skip
    expected = {"finished": 2, "diverged": 2, "undefined": 2, "failed": 2, "missing": 2}
    assert status_counts(tmp_path) == summary.by_status == expected
    assert seen.total == summary.computed == 6
    runs = load(tmp_path).runs.set_index("experiment")
    (error,) = set(runs.loc["fails", "error"])
    assert re.fullmatch(
        r"RuntimeError: no \[/\] such \[C, H\] shape \(tests/test_workflow\.py, line \d+\)", error
    )
    assert all("batch size 1" in text or "more than 1 value" in text
               for text in runs.loc["undefined", "error"])  # fmt: skip
    assert summary.failures == [f"2 × {error}"]
    for name in ("finishes", "diverges"):
        part = runs.loc[name]
        assert (part["steps"] > 0).all()
        assert part[["seconds", "peak_memory", "parameters", "device"]].notna().all(axis=None)
        assert part["classes"].eq(10).all()
        assert part["error"].isna().all()
    curves = load(tmp_path).curves()
    assert set(curves["experiment"]) == {"finishes", "diverges"}
    for _, one in curves[curves["experiment"] == "diverges"].groupby("seed"):
        assert np.isfinite(one["val_loss"]).tolist() == [True, False]


def raising_norm(shape, *, groups, eps, affine):
    """A norm whose layer fails when it computes (not while shapes are found)."""
    from torch import nn

    class Raising(nn.Module):
        def forward(self, x):
            if x.device.type != "meta":
                raise RuntimeError("no [/] such\n[C, H] shape")
            return x.clone()

    return Raising()


def test_failed_runs_are_tried_again_and_the_others_kept(tmp_path):
    class Broken(InlineExecutor):
        def map(self, function, tasks, limit=None):
            for number, done in enumerate(super().map(function, tasks, limit)):
                yield Done(done.task, None, "broken") if number == 1 else done

    summary = sweep(TINY, tmp_path, executor=Broken())
    assert summary.by_status == {"finished": 6, "failed": 2}
    seen = Watcher()
    summary = sweep(TINY, tmp_path, observer=seen)
    assert (seen.total, seen.done, summary.computed) == (2, 6, 2)
    assert summary.by_status == {"finished": 8}
    assert summary.failures == []
    assert load(tmp_path).runs["error"].isna().all()


def test_provenance_holds_every_invocation_with_its_restrictions(tmp_path):
    sweep(TINY, tmp_path, only=["norm=batch"])
    sweep(TINY, tmp_path)
    first, second = load(tmp_path).provenance["invocations"]
    assert (first["only"], second["only"]) == (["norm=batch"], [])
    assert (first["computed"], second["computed"]) == (4, 4)
    assert first["started"] <= first["ended"] <= second["started"]
    assert first["versions"]["torch"]
    assert first["interrupted"] is False


def test_the_execution_hash_names_a_record(whole):
    known = json.loads((whole / "execution.json").read_text(encoding="utf-8"))
    assert set(load(whole).runs["execution_hash"]) == set(known["groups"])
    for group in known["groups"].values():
        assert group["engine"] == {"name": "plain", "variant": "", "threads": 1}
        assert known["environments"][group["environment"]]["device"] == "cpu"


_UNTIMED = """{"environments": {}, "groups": {"a": {"engine": {}, "runs": [], "environment": "b",
    "seconds": "long"}}}"""


@pytest.mark.parametrize(
    "content", ["", "[]", "null", '{"invocations": 3}', _UNTIMED, '{"other": 1}', "{"]
)
@pytest.mark.parametrize("name", ["provenance.json", "execution.json"])
def test_a_damaged_side_file_stops_a_sweep_and_stays(tmp_path, name, content):
    (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(ResultsError, match=rf"{name} is damaged .*move it away: then"):
        sweep(TINY, tmp_path)
    assert (tmp_path / name).read_text(encoding="utf-8") == content
    assert [p.name for p in tmp_path.iterdir()] == [name]
    (tmp_path / name).unlink()
    assert sweep(TINY, tmp_path, only=["norm=batch", "batch_size=8"]).computed == 2


# -- resuming ----------------------------------------------------------------------------------


@pytest.mark.parametrize("runs", [1, 3, 8])
def test_an_interrupted_sweep_keeps_what_is_committed_and_resumes_to_the_same(
    whole, tmp_path, runs
):
    first = InterruptAfter(runs)
    summary = sweep(TINY, tmp_path, observer=first)
    assert summary.interrupted
    assert summary.by_status.get("finished") == len(first.rows)
    assert sum(summary.by_status.values()) == 8
    second = Watcher()
    sweep(TINY, tmp_path, observer=second)
    assert (second.total, second.done) == (8 - len(first.rows), len(first.rows))
    assert differences(whole, tmp_path) == []


def test_nothing_is_computed_when_all_is_done(whole, tmp_path):
    sweep(TINY, tmp_path)
    seen = Watcher()
    assert sweep(TINY, tmp_path, observer=seen).computed == 0
    assert (seen.total, seen.done) == (0, 8)


@pytest.mark.parametrize("k", [1, 4, 9, 14])
def test_a_full_disk_is_a_clear_error_and_loses_nothing_committed(whole, tmp_path, monkeypatch, k):
    count = [0]
    real = pq.ParquetWriter.write_table

    def write_table(*arguments, **keywords):
        count[0] += 1
        if count[0] >= k:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(*arguments, **keywords)

    with monkeypatch.context() as patch:
        patch.setattr(pq.ParquetWriter, "write_table", write_table)
        with pytest.raises(WorkError, match=r"cannot write .*No space left.*run the same command"):
            sweep(TINY, tmp_path)
    whole_groups = max(0, k - 1 - 3) // 3  # the first three writes merge an empty plan
    found = status_counts(tmp_path) if k > 3 else {}
    assert found.get("finished", 0) == 2 * whole_groups
    seen = Watcher()
    sweep(TINY, tmp_path, observer=seen)
    assert seen.total == 8 - 2 * whole_groups
    assert differences(whole, tmp_path) == []
    assert list(tmp_path.rglob("*.tmp")) == []


def test_leftovers_of_a_killed_write_are_removed(whole, tmp_path):
    sweep(TINY, tmp_path, only=["norm=batch"])
    for name in ("runs.parquet.123.tmp", "parts/000000.epochs.parquet.123.tmp"):
        (tmp_path / name).write_bytes(b"half")
    sweep(TINY, tmp_path)
    assert list(tmp_path.rglob("*.tmp")) == []
    assert differences(whole, tmp_path) == []


# -- changed protocols -------------------------------------------------------------------------


def test_a_changed_cell_alone_is_computed_again_and_the_old_one_kept(tmp_path):
    sweep(TINY, tmp_path)
    first = load(tmp_path).runs
    before = dict(zip(first["run_hash"], first["seconds"], strict=True))
    changed = TINY.replace("batch_size = [8, 16]", "batch_size = [8, 4]")
    seen = Watcher()
    summary = sweep(changed, tmp_path, observer=seen)
    assert (seen.total, seen.done, summary.computed) == (4, 4, 4)
    results = load(tmp_path)
    assert sorted(set(results.runs["batch_size"])) == [4, 8]
    old = results.all_runs[~results.all_runs["planned"]]
    assert set(old["batch_size"]) == {16}
    assert set(old["status"]) == {"finished"}
    assert len(results.epochs) == 24
    kept = results.all_runs[results.all_runs["batch_size"] != 4]
    assert dict(zip(kept["run_hash"], kept["seconds"], strict=True)) == before
    seen = Watcher()
    sweep(TINY, tmp_path, observer=seen)
    assert seen.total == 0


def test_added_seeds_are_computed_alone_and_give_what_a_fresh_sweep_gives(tmp_path):
    sweep(TINY, tmp_path / "grown")
    seen = Watcher()
    sweep(MORE_SEEDS, tmp_path / "grown", observer=seen)
    assert (seen.total, seen.done) == (4, 8)
    sweep(MORE_SEEDS, tmp_path / "fresh")
    assert differences(tmp_path / "grown", tmp_path / "fresh") == []


def test_removed_seeds_are_kept_as_unplanned(tmp_path):
    sweep(TINY, tmp_path)
    summary = sweep(TINY.replace("seeds = 2", "seeds = [1]"), tmp_path)
    assert (summary.computed, summary.by_status) == (0, {"finished": 4})
    results = load(tmp_path)
    assert set(results.runs["seed"]) == {1}
    assert set(results.all_runs["seed"]) == {0, 1}
    assert set(results.curves()["seed"]) == {1}


def test_only_leaves_the_others_missing(tmp_path):
    seen = Watcher()
    summary = sweep(TINY, tmp_path, observer=seen, only=["norm=batch", "seed=1"])
    assert (seen.total, seen.done) == (2, 0)
    assert summary.by_status == {"finished": 2, "missing": 6}
    with pytest.raises(UsageError, match="no run has norm = 'grupe'"):
        sweep(TINY, tmp_path, only=["norm=grupe"])


def test_a_run_of_two_experiments_is_trained_once_and_stands_in_both(tmp_path):
    second = '[[experiment]]\nname = "two"\nnorm = "layer"\nbatch_size = 8\nmetric = "loss"\n'
    both = TINY + second + "thresholds = [2.0]\n"
    summary = sweep(both, tmp_path)
    assert summary.computed == 8
    assert summary.by_status == {"finished": 10}
    assert status_counts(tmp_path, experiment="one") == {"finished": 8}
    assert status_counts(tmp_path, experiment="two") == {"finished": 2}
    runs, epochs = tables(tmp_path)["runs"], tables(tmp_path)["epochs"]
    assert len(set(runs["run_hash"].to_pylist())) == 8
    assert epochs.num_rows == 16


def test_while_a_sweep_is_not_merged_a_shared_run_already_stands_in_both(tmp_path, monkeypatch):
    both = TINY + '[[experiment]]\nname = "two"\nnorm = "layer"\nbatch_size = 8\n'

    class Die(Watcher):
        def finished(self, rows):
            super().finished(rows)
            if len(self.rows) == 8:
                monkeypatch.setattr(Store, "consolidate", lambda *_: None)
                raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        sweep(both, tmp_path, observer=Die())
    assert len(list((tmp_path / "parts").iterdir())) == 12
    assert status_counts(tmp_path, experiment="one") == {"finished": 8}
    assert status_counts(tmp_path, experiment="two") == {"finished": 2}


# -- refusals ----------------------------------------------------------------------------------


def test_a_folder_of_another_protocol_is_refused_untouched(whole, tmp_path):
    sweep(TINY, tmp_path, only=["norm=batch"])
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir() if p.is_file()}
    other = TINY.replace('name = "tiny"', 'name = "other"')
    with pytest.raises(ResultsError, match=r"protocol 'tiny', not of 'other'.*--results"):
        sweep(other, tmp_path)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir() if p.is_file()} == before


def test_results_of_a_newer_version_are_refused_untouched(tmp_path):
    folder = tmp_path / "newer"  # the folder's name must not matter
    folder.mkdir()
    sweep(TINY, folder, only=["norm=batch"])
    edit(folder / "protocol.json", schema_version=SCHEMA_VERSION + 1)
    before = {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file()}
    with pytest.raises(ResultsError, match="newer normbench"):
        sweep(TINY, folder)
    assert {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file()} == before


def test_a_second_sweep_of_a_folder_is_refused_while_one_runs(tmp_path):
    tmp_path.mkdir(exist_ok=True)
    with FileLock(tmp_path / ".lock"), pytest.raises(UsageError, match="another normbench"):
        sweep(TINY, tmp_path)
    assert sweep(TINY, tmp_path, only=["norm=batch", "seed=0"]).computed == 2


@pytest.mark.parametrize("below", ["", "inner/deeper"])
def test_a_folder_that_cannot_be_made_is_refused(tmp_path, below):
    file = tmp_path / "file"
    file.write_text("in the way", encoding="utf-8")
    with pytest.raises(UsageError, match=r"cannot write to the results folder.*--results"):
        sweep(TINY, file / below)
    assert file.read_text(encoding="utf-8") == "in the way"
