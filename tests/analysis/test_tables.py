"""The tables of the report against numbers worked out by hand; no run is trained here."""

from __future__ import annotations

from math import inf, log, nan
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import beta

from normbench.analysis.tables import analyse
from normbench.errors import ResultsError, WorkError
from normbench.results.load import load
from tests.support import Curve, made_up

STUDY = """\
[protocol]
name = "made"
seeds = 6
thresholds = [0.5]
window = 1
reference = "layer"

[defaults]
dataset = "digits"
model = "mlp"
learning_rate = 0.1
epochs = 2

[[experiment]]
name = "one"
[experiment.product]
norm = ["layer", "batch"]
batch_size = [8, 32]
"""
DEAD = ("diverged", [0.1, nan])


def tables(folder: Path, curve: Curve, text: str = STUDY):
    return analyse(load(made_up(folder, text, curve).folder))


def row(table: pd.DataFrame, **where) -> pd.Series:
    for key, value in where.items():
        table = table[table[key] == value]
    assert len(table) == 1
    return table.iloc[0]


def steady(run):
    """Layer norm ends at an error of 0.1; batch norm worse, and more so at batch size 8."""
    if run.cell.norm.name == "layer":
        return "finished", [0.1, 0.6, 0.9]
    worse = 0.1 + 0.01 * run.seed if run.cell.batch_size == 8 else 0.02
    return "finished", [0.1, 0.6, 0.9 - worse]


# -- final errors and their differences --------------------------------------------------------


def test_final_errors_differences_and_their_p(tmp_path):
    found = tables(tmp_path, steady)
    final = found["final"]
    part = final[(final["norm"] == "batch") & (final["batch_size"] == 8)]
    assert part["seed"].tolist() == list(range(6))
    assert part["error"].to_numpy() == pytest.approx([0.2, 0.21, 0.22, 0.23, 0.24, 0.25])
    ends = row(found["comparisons"], norm="batch", batch_size=8, endpoint="final")
    assert ends["reference"] == "layer"
    assert ends["estimate"] == pytest.approx(-0.125)  # the mean of −0.10, −0.11, …, −0.15
    assert ends["p"] == pytest.approx(2 / 2**6)  # all six differences have one sign
    assert ends["n"] == 6
    assert ends["low"] <= -0.125 <= ends["high"] < 0
    assert ends["level"] == pytest.approx(0.95)
    assert ends["refusal"] == ""
    assert set(found["comparisons"]["norm"]) == {"batch"}


def test_the_window_averages_the_last_evaluations(tmp_path):
    found = tables(tmp_path, steady, STUDY.replace("window = 1", "window = 2"))
    final = found["final"]
    assert final[final["norm"] == "layer"]["error"].to_numpy() == pytest.approx(
        [(0.4 + 0.1) / 2] * 12
    )


def test_small_batch_degradation_of_two_sizes_is_the_difference_of_differences(tmp_path):
    one = row(tables(tmp_path, steady)["degradation"], norm="batch")
    assert (one["smallest"], one["largest"], one["reference"]) == (8, 32, "layer")
    # (0.10 + 0.01·seed) − 0.02, over seeds 0 to 5
    assert one["estimate"] == pytest.approx(0.105)
    assert one["difference_in_differences"] == pytest.approx(0.105)
    assert one["p"] == pytest.approx(2 / 2**6)


def test_a_diverged_run_counts_with_the_error_of_chance(tmp_path):
    def curve(run):
        return DEAD if (run.cell.norm.name, run.seed) == ("batch", 3) else steady(run)

    found = tables(tmp_path, curve)
    lost = row(found["final"], norm="batch", batch_size=8, seed=3)
    assert lost["error"] == pytest.approx(0.9)
    assert bool(lost["diverged"])
    ends = row(found["comparisons"], norm="batch", batch_size=8, endpoint="final")
    assert ends["n"] == 6
    assert ends["estimate"] == pytest.approx(-(0.1 + 0.11 + 0.12 + 0.8 + 0.14 + 0.15) / 6)
    assert (ends["diverged"], ends["diverged_reference"]) == (1, 0)
    assert "diverged" in ends["warnings"]
    share = row(found["divergence"], norm="batch", batch_size=8)
    assert (share["diverged"], share["runs"]) == (1, 6)
    assert (share["low"], share["high"]) == pytest.approx(
        (beta.ppf(0.025, 1, 6), beta.ppf(0.975, 2, 5))
    )


def test_a_finished_run_worse_than_chance_is_no_worse_than_a_diverged_one(tmp_path):
    found = tables(tmp_path, lambda run: ("finished", [0.1, 0.05, 0.02]))
    assert found["final"]["error"].to_numpy() == pytest.approx([0.9] * 24)
    assert not found["final"]["diverged"].any()


def test_a_loss_is_compared_as_it_is_and_fails_with_ln_of_the_classes(tmp_path):
    text = STUDY.replace("[0.5]", '[0.5]\nmetric = "loss"')

    def curve(run):
        if (run.cell.norm.name, run.seed, run.cell.batch_size) == ("batch", 5, 8):
            return "diverged", [2.3, inf]
        return "finished", [2.3, 0.7, 0.3 if run.cell.norm.name == "batch" else 0.4]

    found = tables(tmp_path, curve, text)
    final = found["final"]
    part = final[(final["norm"] == "batch") & (final["batch_size"] == 8)]["error"]
    assert part.to_numpy() == pytest.approx([0.3] * 5 + [log(10)])
    better = row(found["comparisons"], norm="batch", batch_size=32, endpoint="final")
    assert better["estimate"] == pytest.approx(0.1)  # a lower loss is better
    times = row(found["times"], norm="batch", batch_size=32)
    assert times["restricted_mean"] == pytest.approx(1 + (0.7 - 0.5) / (0.7 - 0.3))
    assert set(found["curves"]["metric"]) == {"loss"}


# -- curves and times --------------------------------------------------------------------------


def test_curves_are_medians_and_quantiles_of_the_runs_alive(tmp_path):
    last = {0: 0.2, 1: 0.3, 2: 0.6}

    def curve(run):
        if run.seed in last:
            return "finished", [0.1, 0.5, last[run.seed]]
        return ("diverged", [0.1, 0.5, nan]) if run.seed == 3 else None

    curves = tables(tmp_path, curve)["curves"]
    one = row(curves, norm="layer", batch_size=8, epoch=2.0)
    assert (one["median"], one["low"], one["high"]) == pytest.approx((0.3, 0.22, 0.54))
    assert (one["runs"], one["diverged"]) == (3, 1)
    before = row(curves, norm="layer", batch_size=8, epoch=1.0)
    assert (before["median"], before["runs"], before["diverged"]) == (0.5, 4, 0)


def test_times_are_interpolated_and_end_at_the_budget(tmp_path):
    found = {
        0: ("finished", [0.1, 0.5, 0.9]),  # at 1
        1: ("finished", [0.1, 0.3, 0.7]),  # half-way between 1 and 2
        2: ("finished", [0.1, 0.2, 0.4]),  # never
        3: ("diverged", [0.1, nan]),  # never
        4: ("diverged", [0.1, 0.6, nan]),  # at 0.8, before it diverged
        5: ("finished", [0.6, 0.7, 0.8]),  # before training
    }
    one = row(tables(tmp_path, lambda run: found[run.seed])["times"], norm="layer", batch_size=8)
    assert one["restricted_mean"] == pytest.approx((1 + 1.5 + 2 + 2 + 0.8 + 0) / 6)
    assert (one["reached"], one["runs"], one["diverged"], one["budget"]) == (4, 6, 2, 2)
    assert one["fraction"] == pytest.approx(4 / 6)
    assert (one["fraction_low"], one["fraction_high"]) == pytest.approx(
        (beta.ppf(0.025, 4, 3), beta.ppf(0.975, 5, 2))
    )


def test_time_differences_are_positive_where_the_norm_is_faster(tmp_path):
    def curve(run):
        fast = run.cell.norm.name == "batch"
        return "finished", [0.1, 0.5 + 0.01 * run.seed, 0.9] if fast else [0.1, 0.2, 0.4]

    one = row(tables(tmp_path, curve)["comparisons"], batch_size=8, endpoint="time")
    expected = np.mean([2 - 0.4 / (0.4 + 0.01 * seed) for seed in range(6)])
    assert one["estimate"] == pytest.approx(expected)
    assert one["threshold"] == 0.5
    assert one["p"] == pytest.approx(2 / 2**6)


# -- what is missing ---------------------------------------------------------------------------


def test_fewer_than_six_seeds_give_an_estimate_without_p(tmp_path):
    found = tables(tmp_path, steady, STUDY.replace("seeds = 6", "seeds = 5"))
    for name in ("comparisons", "degradation"):
        for _, one in found[name].iterrows():
            assert "at least 6" in one["refusal"]
            assert np.isnan([one["p"], one["low"], one["high"]]).all()
            assert np.isfinite(one["estimate"])
            assert one["n"] == 5


@pytest.mark.parametrize(("lost", "refused"), [(1, False), (2, True), (7, True)])
def test_seeds_without_a_run_are_left_out_and_told_or_refused(tmp_path, lost, refused):
    def curve(run):
        gone = run.cell.norm.name == "batch" and run.cell.batch_size == 8 and run.seed < lost
        return None if gone else steady(run)

    found = tables(tmp_path, curve, STUDY.replace("seeds = 6", "seeds = 12"))
    for one in (
        row(found["comparisons"], batch_size=8, endpoint="final"),
        row(found["comparisons"], batch_size=8, endpoint="time"),
        row(found["degradation"], norm="batch"),
    ):
        if refused:
            assert one["refusal"]
            assert np.isnan([one["p"], one["estimate"]]).all()
        else:
            assert one["n"] == 11
            assert (
                "seeds excluded for the whole family because a run is missing: 0"
                in (one["warnings"])
            )
    whole = row(found["comparisons"], batch_size=32, endpoint="final")
    assert (whole["n"], whole["refusal"]) == (12, "")
    count = row(found["completeness"], norm="batch", batch_size=8)
    assert (count["planned"], count["finished"], count["missing"]) == (12, 12 - lost, lost)


def test_without_the_reference_nothing_is_compared_and_it_is_said(tmp_path):
    def curve(run):
        gone = run.cell.norm.name == "layer" and run.cell.batch_size == 8
        return None if gone else steady(run)

    found = tables(tmp_path, curve)
    table = found["comparisons"]
    lost = table[table["batch_size"] == 8]
    assert len(lost) > 0
    assert (lost["refusal"] == "layer has no runs at this batch size").all()
    assert lost["p"].isna().all()
    kept = table[table["batch_size"] == 32]["refusal"]
    assert not kept.str.contains("no runs").any()
    assert "no runs" in row(found["degradation"], norm="batch")["refusal"]
    assert row(found["completeness"], norm="layer", batch_size=8)["missing"] == 6


def test_a_cell_in_which_all_runs_diverged_at_once(tmp_path):
    def curve(run):
        return DEAD if run.cell.norm.name == "batch" and run.cell.batch_size == 8 else steady(run)

    found = tables(tmp_path, curve)
    assert row(found["times"], norm="batch", batch_size=8)["restricted_mean"] == 2
    last = row(found["curves"], norm="batch", batch_size=8, epoch=1.0)
    assert np.isnan(last["median"])
    assert (last["runs"], last["diverged"]) == (0, 6)
    ends = row(found["comparisons"], batch_size=8, endpoint="final")
    assert ends["estimate"] == pytest.approx(-0.8)
    assert ends["diverged"] == 6


def test_a_single_batch_size_has_no_degradation(tmp_path):
    found = tables(tmp_path, steady, STUDY.replace("[8, 32]", "[8]"))
    assert found["degradation"].empty
    assert found["crossover"].empty
    assert len(found["comparisons"]) == 2


def test_undefined_and_failed_cells_are_counted_and_not_compared(tmp_path):
    def curve(run):
        if run.cell.norm.name == "batch":
            return ("failed" if run.cell.batch_size == 8 else "undefined"), [0.1]
        return steady(run)

    found = tables(tmp_path, curve)
    assert row(found["completeness"], norm="batch", batch_size=8)["failed"] == 6
    assert row(found["completeness"], norm="batch", batch_size=32)["undefined"] == 6
    assert found["comparisons"].empty
    assert set(found["final"]["norm"]) == {"layer"}


@pytest.mark.parametrize("fate", ["missing", "failed"])
def test_nothing_computed_is_told(tmp_path, fate):
    folder = made_up(tmp_path, STUDY, lambda run: None if fate == "missing" else (fate, [0.1]))
    with pytest.raises(ResultsError, match=r"no computed run yet \(24 planned"):
        analyse(load(folder.folder))


@pytest.mark.parametrize("table", ["epochs", "runs", "predictions"])
def test_a_table_that_is_gone_is_told(tmp_path, table):
    folder = made_up(tmp_path, STUDY, steady).folder
    (folder / f"{table}.parquet").unlink()
    if table == "predictions":
        assert analyse(load(folder))["noise"].empty
        return
    with pytest.raises(ResultsError, match="normbench run"):
        analyse(load(folder))


def test_runs_that_are_no_longer_planned_take_no_part(tmp_path):
    before = tables(tmp_path / "few", steady, STUDY.replace("seeds = 6", "seeds = 5"))
    folder = made_up(tmp_path / "all", STUDY, steady).folder
    from tests.support import plan_of

    fewer = STUDY.replace("seeds = 6", "seeds = 5")
    store = made_up(folder, fewer, lambda run: None)
    store.consolidate(plan_of(fewer).rows)
    after = analyse(load(folder))
    for name, table in before.tables.items():
        pd.testing.assert_frame_equal(table, after[name])


# -- settings ----------------------------------------------------------------------------------


def test_other_varying_axes_are_settings_of_their_own(tmp_path):
    text = STUDY + "learning_rate = [0.1, 0.2]\n"

    def curve(run):
        status, values = steady(run)
        return status, [*values[:2], values[2] - (0.3 if run.cell.learning_rate == 0.2 else 0)]

    found = tables(tmp_path, curve, text)
    names = ["learning_rate=0.1", "learning_rate=0.2"]
    assert list(dict.fromkeys(found["final"]["setting"])) == names
    means = found["final"][found["final"]["norm"] == "layer"].groupby("setting")["error"].mean()
    assert means[names].to_numpy() == pytest.approx([0.1, 0.4])
    assert list(found["degradation"]["setting"]) == names
    assert found["degradation"]["n"].tolist() == [6, 6]
    for name in names:  # a cell is not complete because the same one of another setting is
        assert row(found["completeness"], setting=name, norm="layer", batch_size=8)["planned"] == 6


def test_whole_numbers_stay_whole_in_the_name_of_a_setting(tmp_path):
    text = STUDY + 'train_size = [60, 80]\n[[experiment]]\nname = "two"\nnorm = "layer"\n'
    found = tables(tmp_path, steady, text + "batch_size = 8\n")
    settings = found["final"][found["final"]["experiment"] == "one"]["setting"]
    assert list(dict.fromkeys(settings)) == ["train_size=60", "train_size=80"]


# -- saving ------------------------------------------------------------------------------------


def test_the_same_results_give_byte_identical_files(tmp_path):
    files = []
    for name in ("a", "b"):
        tables(tmp_path / "results" / name, steady).save(tmp_path / name)
        files.append({p.name: p.read_bytes() for p in sorted((tmp_path / name).iterdir())})
    assert files[0] == files[1]
    assert {"final.csv", "final.parquet", "comparisons.csv"} <= set(files[0])
    again = pd.read_csv(tmp_path / "a" / "final.csv", keep_default_na=False)
    assert again["error"].sum() == pytest.approx(pd.read_parquet(tmp_path / "a/final.parquet")
                                                 ["error"].sum())  # fmt: skip


def test_tables_that_cannot_be_written_are_told(tmp_path):
    found = tables(tmp_path / "r", steady)
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    with pytest.raises(WorkError, match="file"):
        found.save(tmp_path / "file")
