"""Computing anew: chosen runs once each, earlier rows kept until then, and where a run fails."""

from __future__ import annotations

from pathlib import Path

import pytest

from normbench.executors.base import Done
from normbench.executors.inline import InlineExecutor
from normbench.results.decisions import read_record
from normbench.results.files import write_object
from normbench.results.load import load
from normbench.results.store import Store
from tests.support import TINY, Watcher, differences, status_counts, sweep

TUNED = """
[protocol]
name = "tuned"
seeds = 2

[defaults]
dataset = { name = "digits", items = 100 }
model = { name = "mlp", width = 8 }
epochs = 1

[[experiment]]
name = "one"
norm = "layer"
batch_size = 16
[experiment.tune]
learning_rate = [0.1, 0.2]
seeds = 2
"""


def seconds(folder: Path) -> dict[str, float]:
    """The time that each stored run took: another one for one that was trained anew."""
    runs = load(folder).runs
    return dict(zip(runs["run_hash"], runs["seconds"], strict=True))


def test_all_runs_are_trained_anew_and_give_the_same(tmp_path: Path) -> None:
    sweep(TINY, tmp_path / "once")
    sweep(TINY, tmp_path / "again")
    before = seconds(tmp_path / "again")
    seen = Watcher()
    summary = sweep(TINY, tmp_path / "again", observer=seen, recompute=True)
    assert (seen.total, seen.done, summary.computed) == (8, 0, 8)
    after = seconds(tmp_path / "again")
    assert all(before[key] != after[key] for key in before)
    assert differences(tmp_path / "once", tmp_path / "again") == []


def test_only_chosen_runs_take_the_place_of_earlier_ones(tmp_path: Path) -> None:
    sweep(TINY, tmp_path)
    before = seconds(tmp_path)
    # a group holds both seeds of a cell
    summary = sweep(TINY, tmp_path, only=["norm=batch", "seed=1"], recompute=True)
    after = seconds(tmp_path)
    changed = {key for key in before if before[key] != after[key]}
    runs = load(tmp_path).runs.set_index("run_hash")
    assert summary.computed == len(changed) == 2
    assert set(runs.loc[list(changed), "norm"]) == {"batch"}
    assert set(runs.loc[list(changed), "seed"]) == {1}


class Broken(InlineExecutor):
    """Fails every group from the second on."""

    def map(self, function, tasks, limit=None):
        for number, done in enumerate(super().map(function, tasks, limit)):
            yield Done(done.task, None, "broken") if number else done


def test_a_run_that_fails_this_time_keeps_its_earlier_result(tmp_path: Path) -> None:
    sweep(TINY, tmp_path / "once")
    sweep(TINY, tmp_path / "again")
    before = seconds(tmp_path / "again")
    summary = sweep(TINY, tmp_path / "again", executor=Broken(), recompute=True)
    assert (summary.computed, summary.not_renewed) == (2, 6)
    assert summary.failures == ["6 × broken (computed anew; the earlier results are kept)"]
    after = seconds(tmp_path / "again")
    assert sum(before[key] != after[key] for key in before) == 2
    assert differences(tmp_path / "once", tmp_path / "again") == []


@pytest.mark.parametrize("fatal", [KeyboardInterrupt, RuntimeError])
def test_a_crash_in_the_middle_loses_nothing(tmp_path: Path, fatal: type[BaseException]) -> None:
    class Crashing(Watcher):
        def finished(self, rows):
            super().finished(rows)
            raise fatal

    sweep(TINY, tmp_path / "once")
    sweep(TINY, tmp_path / "again")
    if fatal is KeyboardInterrupt:
        sweep(TINY, tmp_path / "again", observer=Crashing(), recompute=True)
    else:
        with pytest.raises(fatal):
            sweep(TINY, tmp_path / "again", observer=Crashing(), recompute=True)
    assert differences(tmp_path / "once", tmp_path / "again") == []


def test_rows_of_an_earlier_computation_do_not_mix_with_the_new(tmp_path: Path) -> None:
    """A run that had predictions and probes, and diverges at its first evaluation when anew."""
    text = TINY.replace("epochs = 1", 'epochs = 1\nprobes = ["weights"]')
    sweep(text, tmp_path)
    store = Store(tmp_path)
    runs = store.read("runs").to_pylist()
    epochs, first = store.read("epochs").to_pylist(), runs[0]["run_hash"]
    row = {**runs[0], "status": "diverged", "probe_values": 0}
    one = [r for r in epochs if r["run_hash"] == first][:1]
    store.write_group("000000", {"runs": [row], "epochs": one, "predictions": [], "probes": []})
    sweep(text, tmp_path)
    assert status_counts(tmp_path) == {"finished": 7, "diverged": 1}
    for table in ("predictions", "probes"):
        keys = Store(tmp_path).read(table).column("run_hash").to_pylist()
        assert first not in keys
        assert set(keys) == {r["run_hash"] for r in runs[1:]}


def test_rates_are_tuned_anew_where_all_their_runs_are(tmp_path: Path) -> None:
    sweep(TUNED, tmp_path)
    path = tmp_path / "decisions.json"
    (before,) = read_record(tmp_path)["rates"].values()
    wrong = 0.1 if before["learning_rate"] == 0.2 else 0.2
    record = read_record(tmp_path)
    next(iter(record["rates"].values()))["learning_rate"] = wrong
    write_object(path, record)
    sweep(TUNED, tmp_path, only=["seed=1000000"], recompute=True)
    assert next(iter(read_record(tmp_path)["rates"].values()))["learning_rate"] == wrong
    sweep(TUNED, tmp_path, recompute=True)
    assert next(iter(read_record(tmp_path)["rates"].values())) == {
        **before, "decided": next(iter(read_record(tmp_path)["rates"].values()))["decided"]
    }  # fmt: skip
    runs = load(tmp_path).runs
    chosen = runs.loc[runs["phase"] == "evaluation", "learning_rate"]
    assert set(chosen) == {before["learning_rate"]}
    assert set(runs["status"]) == {"finished"}
