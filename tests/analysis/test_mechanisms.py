"""What probes measured: the tables, and claims about it."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from normbench.analysis.pooled import pooled_thresholds
from normbench.analysis.tables import analyse
from normbench.plan.spec import RunSpec
from normbench.results.load import Results
from normbench.stats.compare import paired_difference
from tests.analysis.made import document, noise, told, write

SIZE = {"none": 4.0, "batch": 2.0, "layer": 3.0, "group": 3.0}


def doc(*claims: dict[str, Any], **changes: Any) -> dict[str, Any]:
    base = document(**changes)
    base["defaults"] = base["defaults"] | {"probes": ["weights", "landscape"]}
    return base | ({"claim": list(claims)} if claims else {})


def measured(run: RunSpec) -> dict[tuple[str, str], list[float]]:
    """Weights grow to a size that depends on the norm; updates exist from the second on."""
    size = SIZE[run.cell.norm.name] + noise(run) + 1.0 / run.cell.batch_size
    curve = [1.0, size / 2, size]
    return {
        ("weight-norm", ""): curve,
        ("weight-norm", "fc1"): [2 * v for v in curve],
        ("update-norm", ""): [0.1 * v for v in curve[1:]],
    }


def results(folder: Path, *claims: dict[str, Any], **options: Any) -> Results:
    return write(folder, doc(*claims), lambda run: 0.9, **({"probe": measured} | options))


def claim(metric: str = "probe:weight-norm", **content: Any) -> dict[str, Any]:
    end = {"kind": "final", "metric": metric, "goal": "min", "failure_score": 10.0, "window": 1}
    base = {"id": "c", "kind": "superiority", "a": "batch", "b": "none"}
    return base | {"endpoint": end | content.pop("endpoint", {})} | content


def wide(found: Results, layer: str = "", quantity: str = "weight-norm", step: int = 20) -> Any:
    """Values at a step: seeds by norm and batch size."""
    rows = found.probes.merge(found.runs[["run_hash", "seed", "norm", "batch_size"]], on="run_hash")
    own = (rows["probe"] == quantity) & (rows["layer"] == layer) & (rows["step"] == step)
    return rows[own].pivot_table(index="seed", columns=["norm", "batch_size"], values="value")


# -- tables ------------------------------------------------------------------------------------


def test_mechanisms_are_medians_and_quantiles_over_seeds(tmp_path: Path) -> None:
    found = results(tmp_path)
    table = analyse(found)["mechanisms"]
    assert len(table) == 12 * (3 + 3 + 2)
    for layer in ("", "fc1"):
        row = table[
            (table["norm"] == "layer") & (table["batch_size"] == 8) & (table["epoch"] == 2.0)
            & (table["probe"] == "weight-norm") & (table["layer"] == layer)
        ].iloc[0]  # fmt: skip
        values = wide(found, layer)[("layer", 8)]
        low, median, high = np.quantile(values, [0.1, 0.5, 0.9])
        assert (row["low"], row["median"], row["high"]) == pytest.approx((low, median, high))
        assert (row["runs"], row["undefined"], row["step"]) == (10, 0, 20)
    line = table[(table["norm"] == "none") & (table["batch_size"] == 2) & (table["layer"] == "")]
    assert line["probe"].tolist() == ["weight-norm"] * 3 + ["update-norm"] * 2
    assert line["epoch"].tolist() == [0, 1, 2, 1, 2]


def test_runs_that_diverged_or_gave_no_number_are_told_apart(tmp_path: Path) -> None:
    def some(run: RunSpec) -> dict[tuple[str, str], list[float]]:
        return {("weight-norm", ""): [1.0, 2.0, math.nan if run.seed == 1 else 3.0]}

    found = results(
        tmp_path, probe=some, status=lambda run: "diverged" if run.seed == 0 else "finished"
    )
    table = analyse(found)["mechanisms"]
    own = table[(table["norm"] == "none") & (table["batch_size"] == 2)]
    assert own["runs"].tolist() == [10, 10, 8]
    assert own["undefined"].tolist() == [0, 0, 1]
    assert own["median"].tolist() == [1.0, 2.0, 3.0]


def test_the_cost_of_probes_is_a_share_of_the_runs_time(tmp_path: Path) -> None:
    costs = analyse(results(tmp_path))["probe_costs"]
    assert len(costs) == 12
    assert set(costs["share"]) == {0.25}
    assert set(costs["runs"]) == {10}


def test_without_probes_both_tables_are_empty(tmp_path: Path) -> None:
    found = analyse(write(tmp_path, document(), lambda run: 0.9))
    for name in ("mechanisms", "probe_costs"):
        assert found[name].empty
        assert "norm" in found[name].columns


# -- claims ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("layer", "factor"), [("", 1), ("/fc1", 2)])
def test_a_final_claim_compares_what_was_measured_last(
    tmp_path: Path, layer: str, factor: int
) -> None:
    found = results(tmp_path, claim(f"probe:weight-norm{layer}"))
    table = told(found)
    values = wide(found, layer.removeprefix("/"))
    for row in table.to_dict("records"):
        size = int(row["batch_sizes"])
        d = (values[("none", size)] - values[("batch", size)]).to_numpy()
        expected = paired_difference(d)
        assert row["estimate"] == pytest.approx(expected.estimate)
        assert (row["low"], row["high"]) == pytest.approx(expected.interval)
        assert row["verdict"] == "supported"
        assert row["n"] == 10
    of = " of layer fc1" if layer else ""
    said = table["sentence"].iloc[0]
    assert said.startswith(f"The final norm of the weights{of} of batch norm is {2 * factor}")
    assert "smaller than that of no normalization at batch size 2 (95 % interval " in said


def test_the_goal_says_which_values_are_better(tmp_path: Path) -> None:
    row = told(results(tmp_path, claim(endpoint={"goal": "max", "failure_score": 0.0})))
    assert set(row["verdict"]) == {"refuted"}
    assert (row["estimate"] < 0).all()
    assert re.search(r" is (2|2\.0\d|1\.9\d) smaller", row["sentence"].iloc[0])
    assert "smaller than that of no normalization" in row["sentence"].iloc[0]


def test_all_kinds_of_endpoints_and_claims_are_read_and_said(tmp_path: Path) -> None:
    ends: list[tuple[dict[str, Any], str, float]] = [
        ({"kind": "best", "goal": "max", "failure_score": 0.0},
         "The best norm of the weights of batch norm is 2 smaller", -2.0),
        ({"kind": "aulc"}, "The mean norm of the weights of batch norm is 1.5", 1.5),
        ({"kind": "time", "threshold": 2.2, "goal": "max"},
         "Batch norm reaches a norm of the weights of 2.2, ", math.nan),
    ]  # fmt: skip
    claims = [
        claim(id=f"c{i}", endpoint=end, a={"norm": "batch", "batch_size": 8},
              b={"norm": "none", "batch_size": 8})
        for i, (end, _, _) in enumerate(ends)
    ]  # fmt: skip
    claims += [
        claim(id="i", kind="interaction", a="none", b="batch"),
        claim(id="e", kind="equivalence", margin=0.5, a="layer", b="group"),
        {k: v for k, v in claim(id="r", kind="equivalence", margin=0.2, a="layer").items()
         if k != "b"} | {"reference": {"batch_size": 32}},
        claim("probe:update-norm", id="u", a={"norm": "batch", "batch_size": 8},
              b={"norm": "none", "batch_size": 8}, endpoint={"kind": "aulc"}),
    ]  # fmt: skip
    table = told(results(tmp_path, *claims)).set_index("claim")
    for i, (_, words, estimate) in enumerate(ends):
        assert words in table.loc[f"c{i}", "sentence"]
        if not math.isnan(estimate):
            assert table.loc[f"c{i}", "estimate"] == pytest.approx(estimate, abs=0.05)
    assert " epochs later than no normalization at batch size 8 (" in table.loc["c2", "sentence"]
    said = table.loc["i", "sentence"]
    assert "he final norm of the weights of batch norm worsens by" in said
    assert "than that of no normalization when the batch shrinks from 32 to 2 (" in said
    assert "of layer norm stays within 0.5 of that of group norm" in table.loc["e", "sentence"]
    assert "does not stay within 0.2 of that at batch size 32" in table.loc["r", "sentence"]
    # before training there is no update: the mean is over the two evaluations that have one
    assert table.loc["u", "estimate"] == pytest.approx(0.15, abs=0.01)


def test_a_diverged_run_counts_with_the_failure_score_and_one_without_a_number_too(
    tmp_path: Path,
) -> None:
    def some(run: RunSpec) -> dict[tuple[str, str], list[float]]:
        last = math.nan if run.seed == 1 and run.cell.norm.name == "batch" else 3.0
        return {("weight-norm", ""): [math.nan, 2.0, last]}

    def status(run: RunSpec) -> str:
        gone = run.seed == 0 and run.cell.norm.name == "batch"
        return "diverged" if gone else "finished"

    row = told(results(tmp_path, claim(), probe=some, status=status)).iloc[0]
    assert row["estimate"] == pytest.approx((8 * 0 + 2 * (3.0 - 10.0)) / 10)
    assert (row["diverged_a"], row["diverged_b"]) == (1, 0)


def test_a_cell_whose_runs_all_diverged_at_once_counts_with_the_failure_score(
    tmp_path: Path,
) -> None:
    def status(run: RunSpec) -> str:
        return "diverged" if run.cell.norm.name == "batch" else "finished"

    def some(run: RunSpec) -> dict[tuple[str, str], list[float]]:
        return {} if run.cell.norm.name == "batch" else {("weight-norm", ""): [3.0, 3.0, 3.0]}

    for kind in ("final", "best", "aulc", "time"):
        one = claim(endpoint={"kind": kind, "threshold": 3.5})
        row = told(results(tmp_path / kind, one, probe=some, status=status)).iloc[0]
        assert row["diverged_a"] == 10
        # ten seeds that all lose as much: the budget of 2 epochs, or the failure score
        assert row["estimate"] == pytest.approx(-2.0 if kind == "time" else -7.0)


@pytest.mark.parametrize(
    ("metric", "said"),
    [
        ("probe:weight-norm/fc9", "has no value of weight-norm of layer fc9 (there are fc1)"),
        ("probe:loss-variation", "has no value of loss-variation"),
    ],
)
def test_a_quantity_without_values_gives_no_verdict_and_says_why(
    tmp_path: Path, metric: str, said: str
) -> None:
    row = told(results(tmp_path, claim(metric))).iloc[0]
    assert row["verdict"] == "void"
    assert said in row["reason"]
    assert row["sentence"].startswith("No verdict on batch norm against no normalization: ")


def test_a_pooled_threshold_may_be_one_of_a_probe(tmp_path: Path) -> None:
    end = {"kind": "time", "threshold": "pooled", "goal": "max"}
    found = results(tmp_path, claim(endpoint=end))
    ((_, content),) = pooled_thresholds(found, set()).items()
    best = found.probes[
        (found.probes["probe"] == "weight-norm") & (found.probes["layer"] == "")
    ].groupby("run_hash")["value"].max()  # fmt: skip
    assert (best >= content["threshold"]).mean() == pytest.approx(0.8, abs=0.01)
