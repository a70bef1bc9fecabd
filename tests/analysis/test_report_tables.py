"""The tables that the report adds: pairs, profile, evaluations, invariance, input normalization."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from normbench.analysis.pairs import spread
from normbench.analysis.tables import Analysis, analyse
from normbench.results.tables import write_file
from normbench.stats.multiplicity import max_t
from normbench.stats.thresholds import pooled_grid, threshold_sweep
from tests.analysis.made import document, noise, write

LEVEL = {"none": 0.80, "batch": 0.90, "layer": 0.90, "group": 0.895}


def accuracy(run) -> float:
    loss = 0.2 / run.cell.batch_size if run.cell.norm.name == "batch" else 0.0
    return LEVEL[run.cell.norm.name] - loss + noise(run)


def protocol(**header) -> dict:
    base = {"name": "made", "seeds": 10, "window": 1, "thresholds": [0.5, 0.85]}
    return document(protocol=base | {"reference": "layer"} | header)


@pytest.fixture(scope="module")
def analysis(tmp_path_factory) -> Analysis:
    def curve(run):
        top = accuracy(run)
        return [0.1, 0.1 + (top - 0.1) * (0.6 + noise(run, 0.1)), top]

    return analyse(write(tmp_path_factory.mktemp("r"), protocol(), curve))


def one(table: pd.DataFrame, **where) -> pd.Series:
    for key, value in where.items():
        table = table[table[key] == value]
    assert len(table) == 1
    return table.iloc[0]


def errors(analysis: Analysis, norm: str, size: int) -> np.ndarray:
    final = analysis["final"]
    own = final[(final["norm"] == norm) & (final["batch_size"] == size)]
    return own.sort_values("seed")["error"].to_numpy()


def test_pairs_are_all_pairs_at_each_size_in_one_family(analysis):
    pairs = analysis["pairs"]
    assert len(pairs) == 3 * 6
    assert (pairs["family"] == 18).all()
    d = np.column_stack(
        [
            errors(analysis, r["other"], r["batch_size"])
            - errors(analysis, r["norm"], r["batch_size"])
            for r in pairs.to_dict("records")
        ]
    )
    assert np.allclose(pairs["estimate"], d.mean(axis=0))
    assert np.allclose(pairs["adjusted_p"], max_t(d))
    worse = one(pairs, norm="batch", other="layer", batch_size=2)
    assert worse["finding"] == "worse"
    assert worse["low"] < worse["estimate"] < worse["high"] < 0
    assert worse["simultaneous_low"] <= worse["low"]


def test_the_profile_is_the_threshold_sweep_at_both_ends(tmp_path):
    curves = {}

    def curve(run):
        top = accuracy(run)
        found = [0.1, 0.1 + (top - 0.1) * (0.6 + noise(run, 0.1)), top]
        curves.setdefault((run.cell.norm.name, run.cell.batch_size), []).append(found)
        return found

    table = analyse(write(tmp_path / "r", protocol(), curve))["profile"]
    assert set(table["batch_size"]) == {2, 32}
    assert set(table["norm"]) == {"none", "batch", "group"}
    grid = pooled_grid([np.array(c) for c in curves.values()], goal="max", window=1)
    own = table[(table["norm"] == "none") & (table["batch_size"] == 32)]
    assert np.allclose(own["threshold"], grid)
    a, b = (np.array(curves[(norm, 32)]) for norm in ("none", "layer"))
    each = 0.05 / 6  # three norms against the reference at two batch sizes
    sweep = threshold_sweep(
        np.arange(3.0), a, b, grid, goal="max", budget=2.0, window=1, alpha=each
    )
    assert set(own["level"]) == {0.95}
    assert np.allclose(own["saved"], sweep.band.mean)
    assert np.allclose(own["low"], sweep.band.low, equal_nan=True)
    assert np.allclose(own["high"], sweep.band.high, equal_nan=True)
    assert (own["refusal"] == "").all()


def test_run_times_are_what_the_means_are_of(analysis):
    means = analysis["run_times"].groupby(["norm", "batch_size", "threshold"])["time"].mean()
    times = analysis["times"].set_index(["norm", "batch_size", "threshold"])["restricted_mean"]
    assert np.allclose(means.sort_index(), times.sort_index())


def test_invariance_is_bounded_by_the_worst_size(analysis):
    table = analysis["invariance"]
    assert list(table["norm"]) == ["none", "batch", "layer", "group"]
    batch, layer = one(table, norm="batch"), one(table, norm="layer")
    wanted = (errors(analysis, "batch", 2) - errors(analysis, "batch", 32)).mean()
    assert batch["estimate"] == pytest.approx(wanted)
    assert batch["bound"] > batch["estimate"] > 0.08
    assert 0 < layer["bound"] < 0.03
    assert batch["against"] == 32


def statistics(tmp_path: Path) -> Analysis:
    """Batch norm whose loss at small batches halves when its statistics are recomputed."""
    import pyarrow.parquet as pq

    from normbench.results.schema import to_table

    results = write(tmp_path / "r", protocol(), accuracy)
    cells = results.runs.set_index("run_hash")[["norm", "batch_size"]]
    rows = pq.read_table(results.folder / "epochs.parquet").to_pylist()
    for row in rows:
        norm, size = cells.loc[row["run_hash"]]
        if norm == "batch":
            for kind, share in (("recomputed", 0.5), ("batch", 0.25)):
                value = row["val_accuracy"] + share * 0.2 / size
                row |= {f"val_{kind}_accuracy": value, f"val_{kind}_loss": 1 - value}
    content = to_table("epochs", rows)
    write_file(results.folder / "epochs.parquet", content.schema, [content])
    return analyse(type(results)(results.folder))


def test_the_loss_of_batch_norm_is_split_into_two_parts_that_add_up(tmp_path):
    analysis = statistics(tmp_path)
    table = analysis["evaluations"]
    assert set(table["norm"]) == {"batch"}
    means = table.groupby(["evaluation", "batch_size"])["error"].mean()
    assert means["running", 2] - means["recomputed", 2] == pytest.approx(0.05)
    assert means["running", 2] - means["batch", 2] == pytest.approx(0.025)
    split = analysis["evaluation_split"]
    assert len(split) == 3 * (1 + 3)
    for _, part in split.groupby(["smallest", "largest"]):
        by = part.set_index("part")["estimate"]
        assert by["whole"] == pytest.approx(by["training"] + by["evaluation"])
    rise = split[split["smallest"] < split["largest"]].set_index("part")
    assert rise.loc["evaluation", "estimate"] == pytest.approx(0.1 * (1 / 2 - 1 / 32))
    degradation = one(analysis["degradation"], norm="batch")
    assert rise.loc["whole", "estimate"] == pytest.approx(degradation["estimate"])
    assert rise.loc["whole", "p"] == degradation["p"]


INPUTS = {
    "name": "one",
    "product": {"norm": ["none", "layer"], "input_norm": ["raw", "global"], "batch_size": [8]},
}


def test_input_normalization_gains_and_interacts(tmp_path):
    def curve(run):
        helped = run.cell.input_norm == "global" and run.cell.norm.name == "none"
        return 0.8 + 0.05 * helped + 0.001 * (run.seed % 3) * helped

    header = {"name": "made", "seeds": 10, "window": 1, "thresholds": [0.5], "reference": "none"}
    doc = document(protocol=header, experiment=[INPUTS])
    table = analyse(write(tmp_path / "r", doc, curve))["input_norm"]
    assert set(table["input_norm"]) == {"global"}
    assert set(table["off"]) == {"raw"}
    gain = one(table, norm="none", endpoint="final")
    expected = np.mean([0.05 + 0.001 * (s % 3) for s in range(10)])
    assert gain["estimate"] == pytest.approx(expected)
    assert gain["low"] > 0
    less = one(table, norm="layer", endpoint="final", against="none")
    assert less["estimate"] == pytest.approx(-expected)
    assert one(table, norm="none", endpoint="time")["estimate"] > 0  # epochs saved
    equal = one(table, norm="layer", endpoint="final", against="")
    assert equal["estimate"] == 0
    assert equal["refusal"] != ""  # nothing to test


def test_without_input_normalization_the_table_is_empty(analysis):
    assert analysis["input_norm"].empty


def test_few_seeds_give_differences_and_no_tests(tmp_path):
    analysis = analyse(write(tmp_path / "r", protocol(seeds=4), accuracy))
    assert analysis["pairs"]["adjusted_p"].isna().all()
    assert analysis["pairs"]["refusal"].str.contains("4").all()
    assert analysis["pairs"]["estimate"].notna().all()
    assert analysis["invariance"]["bound"].isna().all()
    assert analysis["profile"]["low"].isna().all()


def test_a_cell_that_lacks_most_seeds_does_not_void_the_others(tmp_path):
    def status(run):
        gone = run.cell.norm.name == "none" and run.cell.batch_size == 8 and run.seed < 8
        return "missing" if gone else "finished"

    pairs = analyse(write(tmp_path / "r", protocol(), accuracy, status=status))["pairs"]
    assert len(pairs) == 15
    assert (pairs["refusal"] == "").all()
    assert (pairs["n"] == 10).all()


@pytest.mark.parametrize(("count", "kept"), [(3, 3), (8, 8), (9, 8), (50, 8)])
def test_many_sizes_are_thinned_between_the_ends(count, kept):
    sizes = list(range(1, count + 1))
    found = spread(sizes)
    assert len(found) == kept
    assert {found[0], found[-1]} == {1, count}
