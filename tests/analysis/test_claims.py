"""Claims against made-up results whose truth is known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import normbench
from normbench.plan.expand import expand
from normbench.plan.spec import RunSpec
from normbench.report.pooled import pooled_notes
from normbench.results.load import Results
from normbench.stats.compare import paired_difference
from normbench.stats.multiplicity import max_t
from normbench.stats.smallbatch import inverse_batch_contrast
from normbench.workflow import pool
from tests.analysis.made import document, noise, told, write

END = {"kind": "final", "failure_score": 0.9, "window": 1}


def claim(**content: Any) -> dict[str, Any]:
    return {"id": "c", "kind": "superiority", "a": "layer", "b": "batch", "endpoint": END} | content


def with_claims(*claims: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return document(claim=list(claims), **changes)


def small_batch_loss(run: RunSpec) -> float:
    """Batch norm loses 0.4 / b; the others do not mind."""
    loss = 0.8 / run.cell.batch_size if run.cell.norm.name == "batch" else 0.0
    return 0.9 - loss + noise(run)


def test_interaction_equals_the_contrast_computed_by_hand(tmp_path: Path) -> None:
    results = write(tmp_path, with_claims(claim(kind="interaction")), small_batch_loss)
    row = told(results).iloc[0]
    ends = results.epochs.groupby("run_hash")["val_accuracy"].last()
    runs = results.runs.assign(error=1 - results.runs["run_hash"].map(ends))
    wide = runs.pivot_table(index="seed", columns=["norm", "batch_size"], values="error")
    expected = inverse_batch_contrast(
        wide["batch"].to_numpy(), wide["layer"].to_numpy(), [2, 8, 32], goal="min"
    )
    assert row["verdict"] == "supported"
    assert row["estimate"] == pytest.approx(expected.estimate, abs=1e-12)
    assert (row["low"], row["high"]) == pytest.approx(expected.interval, abs=1e-12)
    assert row["p"] == pytest.approx(expected.p)
    assert row["n"] == 10
    assert "Batch norm loses" in row["sentence"]
    assert "when the batch shrinks from 32 to 2" in row["sentence"]


def test_superiority_has_a_row_per_batch_size_and_both_verdicts(tmp_path: Path) -> None:
    table = told(write(tmp_path, with_claims(claim()), small_batch_loss))
    assert table["hypothesis"].tolist() == ["c@2", "c@8", "c@32"]
    assert table["verdict"].iloc[0] == "supported"
    other = told(write(tmp_path / "b", with_claims(claim(a="batch", b="layer")), small_batch_loss))
    assert other["verdict"].iloc[0] == "refuted"
    assert other["estimate"].iloc[0] == pytest.approx(-table["estimate"].iloc[0])


def test_no_difference_is_inconclusive(tmp_path: Path) -> None:
    doc = with_claims(
        claim(a={"norm": "layer", "batch_size": 8}, b={"norm": "group", "batch_size": 8})
    )
    row = told(write(tmp_path, doc, lambda run: 0.9 + noise(run))).iloc[0]
    assert row["verdict"] == "inconclusive"
    assert row["sentence"].startswith("Undecided")
    assert not np.isnan(row["p"])


def test_family_is_corrected_by_joint_flips(tmp_path: Path) -> None:
    doc = with_claims(
        claim(id="one", family="main"),
        claim(id="two", family="main", a="group", b="none"),
        family=[{"id": "main"}],
    )
    results = write(tmp_path, doc, small_batch_loss)
    table = told(results)
    assert set(table["method"]) == {"max-t"}
    ends = results.epochs.groupby("run_hash")["val_accuracy"].last()
    runs = results.runs.assign(acc=results.runs["run_hash"].map(ends))
    wide = runs.pivot_table(index="seed", columns=["norm", "batch_size"], values="acc")
    columns = [wide["layer"][b] - wide["batch"][b] for b in (2, 8, 32)]
    columns += [wide["group"][b] - wide["none"][b] for b in (2, 8, 32)]
    expected = max_t(np.column_stack(columns))
    np.testing.assert_allclose(table["adjusted_p"], expected, atol=1e-12)
    assert (table["adjusted_p"] >= table["p"] - 1e-12).all()


@pytest.mark.parametrize(("level", "warned"), [(0.11, True), (0.5, False)])
def test_an_equivalence_of_nets_that_learned_nothing_is_warned_of(
    tmp_path: Path, level: float, warned: bool
) -> None:
    equal = claim(id="inv", kind="equivalence", a="layer", b=None, reference={"batch_size": 32},
                  margin=0.05)  # fmt: skip
    equal.pop("b")
    results = write(tmp_path, document(claim=[equal]), lambda run: level + noise(run, scale=0.001))
    row = told(results).iloc[0]
    assert row["verdict"] == "supported"
    assert ("nothing was learned" in row["warnings"]) == warned


def test_equivalence_claims_put_their_family_under_holm(tmp_path: Path) -> None:
    doc = with_claims(
        claim(),
        claim(id="inv", kind="equivalence", a="layer", b=None, reference={"batch_size": 32},
              margin=0.05),
    )  # fmt: skip
    doc["claim"][1].pop("b")
    table = told(write(tmp_path, doc, small_batch_loss))
    assert set(table["method"]) == {"holm"}
    row = table[table["claim"] == "inv"].iloc[0]
    assert row["verdict"] == "supported"
    assert "stays within 5.0 points of its value at batch size 32" in row["sentence"]


def test_invariance_is_refuted_where_the_error_moves_beyond_the_margin(tmp_path: Path) -> None:
    doc = with_claims(
        {k: v for k, v in claim(kind="equivalence", a="batch", margin=0.05).items() if k != "b"}
        | {"reference": {"batch_size": 32}}
    )
    row = told(write(tmp_path, doc, small_batch_loss)).iloc[0]
    assert row["verdict"] == "refuted"


def test_noninferiority_uses_its_margin(tmp_path: Path) -> None:
    def accuracy(run: RunSpec) -> float:
        return 0.9 - 0.02 * (run.cell.norm.name == "group") + noise(run, 0.003)

    side = {"norm": "group", "batch_size": 8}, {"norm": "layer", "batch_size": 8}
    base = claim(kind="noninferiority", a=side[0], b=side[1])
    wide = told(write(tmp_path / "w", with_claims(base | {"margin": 0.05}), accuracy))
    narrow = told(write(tmp_path / "n", with_claims(base | {"margin": 0.01}), accuracy))
    assert wide["verdict"].iloc[0] == "supported"
    assert narrow["verdict"].iloc[0] == "refuted"


def test_pooled_threshold_is_frozen_at_the_first_look(tmp_path: Path) -> None:
    def curve(run: RunSpec) -> list[float]:
        slow = 0.5 if run.cell.norm.name == "batch" else 0.8
        return [0.1, slow + noise(run), 0.9 + noise(run)]

    end = {"kind": "time", "metric": "val_accuracy", "threshold": "pooled", "window": 1}
    doc = with_claims(claim(endpoint=end, over={"batch_size": [8]}))
    results = write(tmp_path, doc, curve)
    first = normbench.analyse(results)["claims"].iloc[0]
    assert 0.85 < first["threshold"] < 0.93
    assert first["verdict"] == "supported"
    assert "epochs earlier" in first["sentence"]
    stored = json.loads((tmp_path / "decisions.json").read_text())["thresholds"]
    assert len(stored) == 1
    # later runs do not move it
    write(tmp_path, doc, lambda run: [0.1, 0.2, 0.3])
    later = normbench.analyse(Results(tmp_path))["claims"].iloc[0]
    assert later["threshold"] == first["threshold"]


def test_a_pooled_threshold_is_provisional_until_the_planned_runs_are_complete(
    tmp_path: Path,
) -> None:
    end = {"kind": "time", "metric": "val_accuracy", "threshold": "pooled", "window": 1}
    doc = with_claims(claim(endpoint=end, over={"batch_size": [8]}))
    half = write(
        tmp_path, doc, lambda run: [0.1, 0.5, 0.6 + noise(run)],
        status=lambda run: "finished" if run.seed < 7 else "missing",
    )  # fmt: skip
    first = normbench.analyse(half)["claims"].iloc[0]
    assert 0.5 < first["threshold"] < 0.7
    assert "provisional, from 84 of 120 runs" in first["warnings"]
    assert not (tmp_path / "decisions.json").exists()
    whole = write(tmp_path, doc, lambda run: [0.1, 0.7, 0.8 + noise(run)])
    last = normbench.analyse(whole)["claims"].iloc[0]
    assert last["threshold"] > 0.7
    assert "provisional" not in last["warnings"]
    (kept,) = json.loads((tmp_path / "decisions.json").read_text())["thresholds"].values()
    assert (kept["runs"], kept["planned"]) == (120, 120)
    (note,) = pooled_notes(Results(tmp_path))
    assert "frozen 20" in note
    assert "from 120 of 120 runs" in note


def test_freeze_keeps_a_threshold_although_runs_are_missing(tmp_path: Path) -> None:
    end = {"kind": "time", "metric": "val_accuracy", "threshold": "pooled", "window": 1}
    doc = with_claims(claim(endpoint=end, over={"batch_size": [8]}))
    half = write(
        tmp_path, doc, lambda run: [0.1, 0.5, 0.6 + noise(run)],
        status=lambda run: "finished" if run.seed < 7 else "missing",
    )  # fmt: skip
    frozen = pool(half, freeze=True)
    assert frozen.provisional == {}
    whole = write(tmp_path, doc, lambda run: [0.1, 0.7, 0.8 + noise(run)])
    assert normbench.analyse(whole)["claims"].iloc[0]["threshold"] < 0.7
    assert "from 84 of 120 runs" in pooled_notes(Results(tmp_path))[0]


def test_claims_edited_after_the_first_run_are_exploratory(tmp_path: Path) -> None:
    write(tmp_path, with_claims(claim(), claim(id="d", b="none")), small_batch_loss)
    edited = with_claims(claim(margin=0.01), claim(id="d", b="none"), claim(id="new", b="group"))
    table = told(write(tmp_path, edited, small_batch_loss))
    by_claim = table.groupby("claim")["exploratory"].first()
    assert by_claim["c"]
    assert by_claim["new"]
    # its family has other members now, so its correction changed too
    assert by_claim["d"]
    same = told(
        write(
            tmp_path, with_claims(claim(chapter="text"), claim(id="d", b="none")), small_batch_loss
        )
    )
    assert not same["exploratory"].any()


def test_fewer_than_six_seeds_give_no_p_value(tmp_path: Path) -> None:
    doc = with_claims(claim())
    doc["protocol"]["seeds"] = 5
    table = told(write(tmp_path, doc, small_batch_loss))
    assert table["p"].isna().all()
    assert table["low"].isna().all()
    assert (table["verdict"] == "inconclusive").all()
    assert table["refusal"].str.contains("at least 6").all()
    assert table["estimate"].notna().all()


def test_undefined_cells_void_a_claim_and_leave_the_others(tmp_path: Path) -> None:
    def status(run: RunSpec) -> str:
        gone = run.cell.norm.name == "batch" and run.cell.batch_size == 2
        return "undefined" if gone else "finished"

    doc = with_claims(claim(), claim(id="d", b="none"))
    table = told(write(tmp_path, doc, small_batch_loss, status=status)).set_index("hypothesis")
    assert table.loc["c@2", "verdict"] == "void"
    assert "undefined" in table.loc["c@2", "reason"]
    assert table.loc["c@8", "verdict"] != "void"
    assert (table.loc[["d@2", "d@8", "d@32"], "n"] == 10).all()


def test_a_missing_run_excludes_its_seed_for_the_whole_family(tmp_path: Path) -> None:
    def status(run: RunSpec) -> str:
        gone = run.cell.norm.name == "batch" and run.cell.batch_size == 2 and run.seed == 3
        return "missing" if gone else "finished"

    table = told(
        write(
            tmp_path, with_claims(claim(), claim(id="d", b="none")), small_batch_loss, status=status
        )
    )
    assert (table["n"] == 9).all()
    assert table["warnings"].str.contains("excluded for the whole family.*3").all()


def test_too_many_missing_runs_refuse_a_verdict(tmp_path: Path) -> None:
    def status(run: RunSpec) -> str:
        gone = run.cell.norm.name == "batch" and run.cell.batch_size == 2 and run.seed < 3
        return "missing" if gone else "finished"

    table = told(write(tmp_path, with_claims(claim()), small_batch_loss, status=status))
    assert table["p"].isna().all()
    assert (table["verdict"] == "inconclusive").all()


def test_a_missing_cell_is_named_and_the_rest_is_exploratory(tmp_path: Path) -> None:
    def status(run: RunSpec) -> str:
        gone = run.cell.norm.name == "batch" and run.cell.batch_size == 2
        return "missing" if gone else "finished"

    doc = with_claims(claim(), claim(id="d", b="none"))
    table = told(write(tmp_path, doc, small_batch_loss, status=status)).set_index("hypothesis")
    assert "batch at batch size 2" in table.loc["c@2", "reason"]
    assert table["exploratory"].all()
    assert table.loc["d@2", "n"] == 10


def test_diverged_runs_count_with_the_failure_score_and_stand_beside_the_mean(
    tmp_path: Path,
) -> None:
    def status(run: RunSpec) -> str:
        return "diverged" if run.cell.norm.name == "batch" and run.seed < 4 else "finished"

    doc = with_claims(claim(over={"batch_size": [8]}))
    results = write(tmp_path, doc, lambda run: 0.9, status=status)
    row = told(results).iloc[0]
    assert (row["diverged_a"], row["diverged_b"]) == (0, 4)
    assert row["fragile"]
    assert row["estimate"] == pytest.approx(4 * (0.9 - 0.1) / 10)
    assert "4 runs diverged" in row["sentence"] or row["refusal"]


def test_divergence_itself_can_be_claimed(tmp_path: Path) -> None:
    def status(run: RunSpec) -> str:
        return "diverged" if run.cell.norm.name == "batch" and run.seed < 8 else "finished"

    doc = with_claims(claim(endpoint={"kind": "diverged"}, over={"batch_size": [8]}))
    row = told(write(tmp_path, doc, lambda run: 0.9, status=status)).iloc[0]
    assert row["verdict"] == "supported"
    assert row["p"] == pytest.approx(2 * 0.5**8)


def test_runs_of_two_machines_are_not_paired(tmp_path: Path) -> None:
    doc = with_claims(claim())
    results = write(
        tmp_path, doc, small_batch_loss,
        execution=lambda run: "m1" if run.cell.norm.name == "batch" else "m2",
    )  # fmt: skip
    table = told(results)
    assert table["p"].isna().all()
    assert table["refusal"].str.contains("confounded with machine").all()
    one = write(tmp_path / "ok", doc, small_batch_loss, execution=lambda run: f"m{run.seed % 2}")
    assert told(one)["p"].notna().all()


def test_single_claim_agrees_with_the_paired_comparison(tmp_path: Path) -> None:
    doc = with_claims(claim(over={"batch_size": [8]}))
    results = write(tmp_path, doc, small_batch_loss)
    row = told(results).iloc[0]
    accuracy = {
        (r.cell.norm.name, r.seed): small_batch_loss(r)
        for r in expand(results.study)
        if r.cell.batch_size == 8
    }
    d = [accuracy[("layer", s)] - accuracy[("batch", s)] for s in range(10)]
    expected = paired_difference(d)
    assert row["p"] == pytest.approx(expected.p)
    assert row["adjusted_p"] == pytest.approx(expected.p)
