"""Costs of a step and seconds to a threshold, against numbers worked out by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from normbench.analysis.cells import CellCurves
from normbench.analysis.seconds import (
    cost_table,
    mean_interval,
    time_columns,
    timings_by_cell,
)
from normbench.analysis.tables import Analysis, analyse
from normbench.results.load import Results
from normbench.results.timings import read_timings, write_timings
from tests.analysis.made import document, noise, write

ONE = {"name": "one", "product": {"norm": ["batch", "layer"], "batch_size": [8, 32]}}


def made(folder: Path, **protocol) -> Results:
    """Results of ten seeds that reach an accuracy of 0.5 on their way to about 0.9 or 0.7."""
    base = {"name": "made", "seeds": 10, "window": 1, "thresholds": [0.5], "reference": "layer"}
    doc = document(protocol=base | protocol, experiment=[ONE])

    def curve(run):
        top = (0.9 if run.cell.norm.name == "batch" else 0.7) + noise(run, 0.05)
        return [0.1, 0.1 + (top - 0.1) / 2, top]

    return write(folder, doc, curve)


def timed(results: Results, seconds, repetitions: int = 20) -> Results:
    """The same results with timings: ``seconds(norm, batch, repetition)`` is a step's time."""
    cells = results.runs.drop_duplicates("cell_hash")
    rows = [
        {
            "cell_hash": cell.cell_hash, "repetition": i, "memory": 2.0, "memory_kind": "counted",
            "device": "cpu", "threads": 1, "environment": "e", "measured": "now",
            **{f"{part}_seconds": share * seconds(cell.norm, cell.batch_size, i)
               for part, share in
               (("forward", 0.3), ("backward", 0.6), ("update", 0.1), ("step", 1.0))},
        }
        for cell in cells.itertuples()
        for i in range(repetitions)
    ]  # fmt: skip
    write_timings(results.folder, rows)
    return Results(results.folder)


def row(table: pd.DataFrame, **where) -> pd.Series:
    for key, value in where.items():
        table = table[table[key] == value]
    assert len(table) == 1
    return table.iloc[0]


def drifting(norm, batch, repetition) -> float:
    """A machine that gets slower and slower; batch norm takes 1.5 times as long throughout."""
    return 1e-3 * batch * (1 + repetition) * (1.5 if norm == "batch" else 1.0)


# -- costs -------------------------------------------------------------------------------------


def test_costs_are_medians_with_intervals_between_order_statistics(tmp_path):
    found = analyse(timed(made(tmp_path), drifting))["costs"]
    assert len(found) == 4
    one = row(found, norm="layer", batch_size=8)
    # of 8, 16, …, 160 ms: the median, and the 6th smallest and largest (P(Bin(20, ½) < 6) = 2.07 %)
    assert (one["step_low"], one["step_seconds"], one["step_high"]) == pytest.approx(
        (0.048, 0.084, 0.120)
    )
    parts = [one[f"{part}_seconds"] for part in ("forward", "backward", "update")]
    assert parts == pytest.approx([0.3 * 0.084, 0.6 * 0.084, 0.1 * 0.084])
    assert (one["repetitions"], one["level"]) == (20, pytest.approx(0.95))
    assert (one["memory"], one["memory_kind"], one["device"]) == (2.0, "counted", "cpu")


def test_the_ratio_is_paired_by_repetition_and_does_not_see_drift(tmp_path):
    found = analyse(timed(made(tmp_path), drifting))["costs"]
    one = row(found, norm="batch", batch_size=32)
    assert one["reference"] == "layer"
    assert (one["ratio"], one["ratio_low"], one["ratio_high"]) == pytest.approx((1.5, 1.5, 1.5))
    base = row(found, norm="layer", batch_size=32)
    assert base["ratio"] == 1
    assert np.isnan([base["ratio_low"], base["ratio_high"]]).all()


def test_few_repetitions_give_medians_without_intervals(tmp_path):
    found = analyse(timed(made(tmp_path), drifting, repetitions=3))
    one = row(found["costs"], norm="batch", batch_size=8)
    assert one["step_seconds"] == pytest.approx(1.5 * 0.016)
    assert one["ratio"] == pytest.approx(1.5)
    assert np.isnan([one["step_low"], one["step_high"], one["ratio_low"]]).all()
    times = row(found["times"], norm="batch", batch_size=8)
    assert np.isfinite(times["seconds"])
    assert np.isnan([times["seconds_low"], times["seconds_high"]]).all()


def test_cells_without_timings_have_no_costs_and_no_seconds(tmp_path):
    results = made(tmp_path)
    found = analyse(results)
    assert found["costs"].empty
    assert "step_seconds" in found["costs"]
    assert found["times"][["seconds", "seconds_low", "seconds_high"]].isna().all(axis=None)
    assert found["times"][["low", "high", "steps", "samples"]].notna().all(axis=None)
    kept = timed(results, drifting)
    table = read_timings(kept.folder).to_pylist()
    layer = set(kept.runs[kept.runs["norm"] == "layer"]["cell_hash"])
    write_timings(kept.folder, [r for r in table if r["cell_hash"] not in layer])
    found = analyse(Results(kept.folder))
    assert set(found["costs"]["norm"]) == {"batch"}
    assert found["costs"]["ratio"].isna().all()  # the reference was never timed
    assert found["times"]["seconds"].notna().tolist() == [True, True, False, False]


# -- seconds to the threshold ------------------------------------------------------------------


def test_steps_samples_and_seconds_are_the_epochs_in_other_units(tmp_path):
    found = analyse(timed(made(tmp_path), lambda *_: 0.25))["times"]
    one = row(found, norm="batch", batch_size=32)
    # made-up runs take ten steps an epoch
    assert one["steps"] == pytest.approx(10 * one["restricted_mean"])
    assert one["samples"] == pytest.approx(32 * one["steps"])
    assert one["seconds"] == pytest.approx(0.25 * one["steps"])
    assert 0 < one["low"] < one["restricted_mean"] < one["high"] < one["budget"]


def test_the_interval_of_seconds_holds_both_uncertainties(tmp_path):
    sure = row(analyse(timed(made(tmp_path / "a"), lambda *_: 0.25))["times"],
               norm="batch", batch_size=8)  # fmt: skip
    unsure = row(analyse(timed(made(tmp_path / "b"), drifting))["times"],
                 norm="batch", batch_size=8)  # fmt: skip
    # a step time without spread: the seeds' interval alone, at 97.5 % and so wider than at 95 %
    assert sure["seconds_low"] < 0.25 * 10 * sure["low"]
    assert sure["seconds_high"] > 0.25 * 10 * sure["high"]
    low, high = (sure[f"seconds_{end}"] / 0.25 for end in ("low", "high"))
    # P(Bin(20, ½) < 5) = 0.59 % and P(Bin(20, ½) < 6) = 2.07 %: the 5th at 97.5 %
    assert unsure["seconds_low"] == pytest.approx(low * 0.012 * 5)
    assert unsure["seconds_high"] == pytest.approx(high * 0.012 * 16)


def test_the_interval_of_a_mean_stays_within_zero_and_the_budget():
    time = np.array([0.1, 0.2, 2.0, 2.0, 2.0, 0.3])
    low, high = mean_interval(time, 2.0, 0.05)
    assert 0 <= low < time.mean() < high <= 2.0
    assert mean_interval(np.array([0.5, 1.0]), 2.0, 0.05) == (0.0, 2.0)
    assert np.isnan(mean_interval(np.array([0.5]), 2.0, 0.05)).all()
    assert np.isnan(mean_interval(np.full(10, 2.0), 2.0, 0.05)).all()


def one_cell(steps_per_epoch: int | None = 10) -> CellCurves:
    return CellCurves(
        "one", "", "batch", 8, 2.0, (0,), np.zeros(1), np.zeros((1, 1)), np.zeros(1, dtype=bool),
        ("e",), 1, "accuracy", 10, "cell", steps_per_epoch,
    )  # fmt: skip


def frame(seconds: np.ndarray) -> pd.DataFrame:
    columns = {f"{p}_seconds": seconds for p in ("step", "forward", "backward", "update")}
    return pd.DataFrame({"cell_hash": "cell", "repetition": range(len(seconds)), **columns})


def test_a_cell_that_never_took_a_step_has_epochs_alone():
    found = time_columns(one_cell(None), np.array([1.0, 2.0]), {}, 0.05)
    assert found["restricted_mean"] == 1.5
    assert np.isnan([found["steps"], found["samples"], found["seconds"]]).all()


@pytest.mark.parametrize(("seeds", "spread"), [(8, 0.3), (20, 0.8)])
def test_intervals_cover_in_a_simulation(seeds, spread):
    """Skewed times, a fifth of them at the budget for the wider one; skewed step times."""
    rng = np.random.default_rng(5)
    budget, trials = 2.0, 400
    many = np.minimum(np.exp(spread * rng.standard_normal(10**6)), budget)
    mean, step = float(many.mean()), 0.01
    hits = np.zeros(2)
    for _ in range(trials):
        time = np.minimum(np.exp(spread * rng.standard_normal(seeds)), budget)
        steps = step * np.exp(0.2 * rng.standard_normal(15))  # its median is ``step``
        timings = timings_by_cell(frame(steps))
        found = time_columns(one_cell(), time, timings, 0.05)
        hits += [
            found["low"] <= mean <= found["high"],
            found["seconds_low"] <= 10 * mean * step <= found["seconds_high"],
        ]
    # 95 %, less three standard errors of the simulation (3.3 points)
    assert (hits / trials >= 0.917).all()


def test_the_order_of_the_rows_does_not_matter():
    seconds = np.arange(1.0, 21.0)
    ordered = frame(seconds)
    mixed = ordered.sample(frac=1, random_state=0)
    for name in ("step", "update"):
        a, b = (timings_by_cell(f)["cell"].seconds[name] for f in (ordered, mixed))
        assert np.array_equal(a, b)


def test_no_panels_give_a_table_without_rows():
    assert cost_table([], {}, 0.05).empty


def test_the_same_results_give_the_same_bytes(tmp_path):
    found = []
    for name in ("a", "b"):
        results = timed(made(tmp_path / name), drifting)
        analysis: Analysis = analyse(results)
        analysis.save(tmp_path / "tables" / name)
        folder = tmp_path / "tables" / name
        found.append({p.name: p.read_bytes() for p in sorted(folder.iterdir())})
    assert found[0] == found[1]
    assert {"costs.csv", "costs.parquet"} <= set(found[0])
