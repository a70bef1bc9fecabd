"""Two result sets against each other: what answers to what, what changed, and what is not said."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from normbench.analysis.versus import compare
from normbench.errors import ResultsError
from normbench.plan.execution import PLAIN, GroupPlan
from normbench.plan.expand import expand
from normbench.plan.spec import digest
from normbench.protocol.load import parse
from normbench.report.render import render_page
from normbench.report.versus import sentences, versus_page
from normbench.results.execution import add_groups
from normbench.results.load import Results
from normbench.stats.compare import paired_difference
from normbench.stats.multiplicity import max_t
from tests.analysis.made import document, write

DEFAULTS = {"dataset": "digits", "model": "mlp", "learning_rate": 0.1, "epochs": 2}
SMALL = {"norm": ["batch", "layer"], "batch_size": [8, 32]}


def small(product=None, *, thresholds=(), seeds=10, defaults=None, name="one", **changes):
    """A protocol with one experiment; axes are those of ``product``."""
    protocol = {"name": "made", "seeds": seeds, "window": 1, "thresholds": list(thresholds)}
    one = {"name": name, "product": product or SMALL}
    return document(
        protocol=protocol | changes.pop("protocol", {}), defaults=DEFAULTS | (defaults or {}),
        experiment=[one], **changes,
    )  # fmt: skip


def curve(salt: int = 0, shift=lambda run: 0.0):
    """Accuracies that depend on the salt, the seed, the norm and the batch size."""

    def made(run):
        key = [salt, run.seed, run.cell.batch_size, *run.cell.norm.name.encode()]
        value = 0.8 + 0.01 * np.random.default_rng(key).standard_normal() + shift(run)
        return [0.1, value - 0.1, value]

    return made


def both(tmp_path: Path, doc_a=None, doc_b=None, a=None, b=None, **options):
    """Two result sets and their comparison."""
    one = write(tmp_path / "a", doc_a or small(), a or curve(), **options.pop("in_a", {}))
    other = write(tmp_path / "b", doc_b or doc_a or small(), b or curve(1), **options)
    return one, other, compare(one, other)


def lost(norm: str, size: int, amount: float):
    return lambda run: -amount * (run.cell.norm.name == norm and run.cell.batch_size == size)


def verdicts(found, endpoint="final"):
    rows = found.tables["changes"]
    rows = rows[rows["endpoint"] == endpoint]
    return {(r["norm"], r["batch_size"]): r["verdict"] for r in rows.to_dict("records")}


# -- which cells answer to which ---------------------------------------------------------------


def test_equal_runs_are_reported_as_identical(tmp_path):
    a, b, found = both(tmp_path, small(thresholds=[0.7]), b=curve(0))
    assert set(found.tables["changes"]["verdict"]) == {"identical"}
    assert found.tables["cells"]["same_runs"].all()
    assert found.tested == 0
    assert found.tables["changes"]["p"].isna().all()
    assert sentences(found) == ["Of 4 matched cells, 4 identical in every run."]
    page = render_page(versus_page(a, b, found))
    assert "nothing: the same run hashes" in page


def test_equal_plans_with_other_numbers_are_tested(tmp_path):
    _, _, found = both(tmp_path)
    assert found.tables["cells"]["same_runs"].all()
    assert found.tested == 4
    assert found.tables["changes"]["adjusted_p"].notna().all()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"learning_rate": 0.05}, "learning_rate: 0.1 → 0.05"),
        ({"clip_norm": 1.0}, "clip_norm added: 1"),
        ({"model": {"name": "mlp", "width": 24}}, "model: mlp → mlp(width=24)"),
        ({"input_norm": "raw", "init": "he"}, "init: torch → he; input_norm: per-channel → raw"),
    ],
)
def test_what_differs_between_cells_is_said(tmp_path, change, said):
    _, _, found = both(tmp_path, small(), small(defaults=change))
    assert found.tables["cells"]["differs"].tolist() == [said] * 4
    assert not found.tables["cells"]["same_runs"].any()
    assert found.tables["unmatched"].empty


def test_an_axis_that_is_gone_is_removed(tmp_path):
    _, _, found = both(tmp_path, small(defaults={"clip_norm": 2.0}), small())
    assert found.tables["cells"]["differs"].tolist() == ["clip_norm removed: was 2"] * 4


def test_changed_data_are_said(tmp_path):
    name = json.dumps({"name": "digits", "items": 1797})
    one = write(tmp_path / "a", small(), curve())
    params = json.loads(one.runs["dataset_params"].iloc[0])
    name = json.dumps({"name": "digits", **params})
    for folder, key in (("a", "old"), ("b", "new")):
        other = write(tmp_path / folder, small(), curve())
        (tmp_path / folder / "data.json").write_text(json.dumps({name: key, "x": 3}))
    cells = compare(Results(tmp_path / "a"), other).tables["cells"]
    assert cells["differs"].tolist() == ["the content of the data set digits"] * 4


def test_a_renamed_experiment_is_found_again(tmp_path):
    a, b, found = both(tmp_path, small(), small(name="other"), b=curve(0))
    assert len(found.tables["cells"]) == 4
    assert set(found.tables["cells"]["verdict"]) == {"identical"}
    assert "experiment: one → other" in render_page(versus_page(a, b, found))


def test_cells_of_one_side_alone_are_listed(tmp_path):
    wide = small({"norm": ["batch", "layer", "none"], "batch_size": [8, 32]})
    tall = small({"norm": ["batch", "layer"], "batch_size": [2, 8]})
    a, b, found = both(tmp_path, wide, tall)
    alone = found.tables["unmatched"]
    listed = sorted(zip(alone["side"], alone["norm"], alone["batch_size"], strict=True))
    assert listed == [("A", "batch", 32), ("A", "layer", 32), ("A", "none", 8), ("A", "none", 32),
                      ("B", "batch", 2), ("B", "layer", 2)]  # fmt: skip
    assert len(found.tables["cells"]) == 2
    assert versus_page(a, b, found).lines[0].endswith("2 cells matched, 4 only in A, 2 only in B")


def test_a_varied_axis_keeps_cells_apart(tmp_path):
    varied = small({"norm": ["batch"], "batch_size": [8], "input_norm": ["raw", "global"]})
    plain = small({"norm": ["batch"], "batch_size": [8]}, defaults={"input_norm": "raw"})
    _, _, found = both(tmp_path, varied, plain)
    assert found.tables["cells"]["setting"].tolist() == ["input_norm=raw"]
    assert found.tables["unmatched"]["setting"].tolist() == ["input_norm=global"]


def test_a_changed_parameter_of_the_norm_is_matched_where_it_is_the_only_one(tmp_path):
    groups = [{"name": "group", "groups": 2}]
    one = small({"norm": groups, "batch_size": [8]})
    other = small({"norm": [{"name": "group", "groups": 4}], "batch_size": [8]})
    _, _, found = both(tmp_path, one, other)
    assert found.tables["cells"]["differs"].str.startswith("norm: group(groups=2) → ").all()


def test_sets_without_a_common_cell_are_refused_with_what_they_hold(tmp_path):
    one = write(tmp_path / "a", small({"norm": ["batch"], "batch_size": [2]}), curve())
    other = write(tmp_path / "b", small({"norm": ["layer"], "batch_size": [8]}), curve())
    with pytest.raises(ResultsError) as refused:
        compare(one, other)
    text = str(refused.value)
    assert "batch at batch size 2 (digits)" in text
    assert "layer at batch size 8 (digits)" in text
    assert "likely fix" in text


# -- what changed ------------------------------------------------------------------------------


def test_a_change_is_found_with_the_numbers_computed_by_hand(tmp_path):
    doc = small(thresholds=[0.75])
    a, b, found = both(tmp_path, doc, b=curve(1, lost("batch", 8, 0.04)))
    assert verdicts(found) == {
        ("batch", 8): "worse", ("batch", 32): "no change shown",
        ("layer", 8): "no change shown", ("layer", 32): "no change shown",
    }  # fmt: skip
    assert found.method == "max-t"
    differences = []
    for norm, size, endpoint, theta in zip(
        *(found.tables["changes"][c] for c in ("norm", "batch_size", "endpoint", "threshold")),
        strict=True,
    ):
        sides = []
        for results in (a, b):
            runs = results.runs
            mine = runs[(runs["norm"] == norm) & (runs["batch_size"] == size)].sort_values("seed")
            values = np.array([
                results.epochs[results.epochs["run_hash"] == key]["val_accuracy"].to_numpy()
                for key in mine["run_hash"]
            ])  # fmt: skip
            if endpoint == "final":
                sides.append(1 - values[:, -1])
            else:
                x = np.array([0.0, 1.0, 2.0])
                sides.append([
                    2.0 if v.max() < theta else np.interp(theta, v, x) for v in values
                ])  # fmt: skip
        differences.append(np.subtract(*map(np.asarray, sides)))
    table = found.tables["changes"]
    assert table["estimate"].to_numpy() == pytest.approx([d.mean() for d in differences])
    moving = [bool(d.any()) for d in differences]
    expected = max_t(np.column_stack([d for d in differences if d.any()]))
    assert table["adjusted_p"][moving].to_numpy() == pytest.approx(expected)
    first = paired_difference(differences[0])
    assert table.loc[0, ["low", "high", "p"]].tolist() == pytest.approx([*first.interval, first.p])
    assert table.loc[0, "simultaneous_low"] < table.loc[0, "low"]
    said = sentences(found)
    assert said[0] == "Of 4 matched cells, 1 worse in B, 3 without a change shown."
    assert "Batch norm at batch size 8 (one): final error 3.06 points higher" in " ".join(said)
    assert "in B (95 % interval 2.34 to 3.77, 10 seeds" in " ".join(said)


def test_times_need_shared_thresholds_and_equal_budgets(tmp_path):
    _, _, found = both(tmp_path, small(thresholds=[0.5, 0.7]), small(thresholds=[0.7, 0.9]))
    assert set(found.tables["changes"]["threshold"].dropna()) == {0.7}
    longer = write(tmp_path / "c", small(thresholds=[0.7], defaults={"epochs": 3}),
                   lambda run: 0.8)  # fmt: skip
    table = compare(Results(tmp_path / "a"), longer).tables["changes"]
    times = table[table["endpoint"] == "time"]
    assert set(times["refusal"]) == {"the budgets differ: 2 and 3 epochs"}
    assert set(times["verdict"]) == {"not compared"}
    assert times["estimate"].isna().all()


def test_both_sides_are_read_in_the_same_way(tmp_path):
    _, _, found = both(tmp_path, small(), small(protocol={"window": 2}))
    row = found.tables["changes"].iloc[0]
    assert "both read with a window of 2 evaluations" in row["warnings"]
    assert row["mean_a"] == pytest.approx(0.25, abs=0.01)  # 0.2 at the end, 0.3 before


def test_accuracy_and_loss_are_not_compared(tmp_path):
    _, _, found = both(tmp_path, small(thresholds=[0.5]),
                       small(thresholds=[0.5], protocol={"metric": "loss"}))  # fmt: skip
    rows = found.tables["changes"]
    assert set(rows["refusal"]) == {"A is read by accuracy, B by loss"}
    assert set(rows["endpoint"]) == {"final"}


# -- seeds -------------------------------------------------------------------------------------


def missing(norm: str, *seeds: int):
    gone = {(norm, seed) for seed in seeds}
    return lambda run: "missing" if (run.cell.norm.name, run.seed) in gone else "finished"


def test_a_seed_that_one_cell_lacks_is_left_out_for_all(tmp_path):
    _, _, found = both(tmp_path, status=missing("batch", 3))
    assert set(found.tables["changes"]["n"]) == {9}
    assert found.method == "max-t"
    assert tuple(map(str, found.notes)) == (
        "seeds excluded for the whole family because a comparison lacks them: 3",
    )


def test_cells_with_different_seeds_are_corrected_by_holm(tmp_path):
    doc = small(seeds=20)
    _, _, found = both(tmp_path, doc, in_a={"status": missing("batch", 0, 1)},
                       status=missing("layer", 18, 19))  # fmt: skip
    assert found.method == "holm"
    assert set(found.tables["changes"]["n"]) == {18}
    assert "different seeds" in str(found.notes[0])


def test_only_seeds_that_both_protocols_plan_are_used(tmp_path):
    _, _, found = both(tmp_path, small(seeds=[0, 1, 2, 3, 4, 5, 6, 7]), small(seeds=12))
    assert set(found.tables["changes"]["n"]) == {8}
    assert (found.tables["cells"][["seeds_a", "seeds_b"]] == (8, 12)).all().all()


def test_no_common_seed_is_no_comparison(tmp_path):
    a, b, found = both(tmp_path, small(seeds=[0, 1, 2]), small(seeds=[3, 4, 5]))
    assert set(found.tables["changes"]["refusal"]) == {"no seed is planned in both"}
    assert sentences(found)[0] == "Of 4 matched cells, 4 not decided."
    assert render_page(versus_page(a, b, found))


def test_many_missing_runs_are_no_comparison(tmp_path):
    _, _, found = both(tmp_path, status=missing("batch", 0, 1, 2))
    assert verdicts(found)[("batch", 8)] == "not compared"
    assert verdicts(found)[("layer", 8)] == "no change shown"
    assert "3 of 10 seeds lack a run" in found.tables["changes"]["refusal"].iloc[0]


def test_five_seeds_decide_nothing(tmp_path):
    _, _, found = both(tmp_path, small(seeds=5), b=curve(1, lost("batch", 8, 0.5)))
    assert set(found.tables["changes"]["verdict"]) == {"not decidable"}
    assert found.tables["changes"][["p", "low", "adjusted_p"]].isna().all().all()
    assert "at least 6 are needed" in found.tables["changes"]["refusal"].iloc[0]


def test_divergence_stands_beside_the_mean(tmp_path):
    _, _, found = both(
        tmp_path,
        status=lambda run: "diverged" if run.cell.batch_size == 8 and run.seed < 4 else "finished",
    )
    row = found.tables["changes"].iloc[0]
    assert (row["diverged_a"], row["diverged_b"]) == (0, 4)
    assert "fragile" in row["warnings"]


# -- machines ----------------------------------------------------------------------------------


def made_on(folder: Path, doc, cpu: str, accuracy) -> Results:
    """Results whose execution plan names a machine."""
    environment = {"cpu": cpu, "versions": {"torch": "2.6", "numpy": "2.0"}}
    runs = tuple(run.run_hash for run in expand(parse(doc, "made.toml", "made")))
    group = GroupPlan(PLAIN, runs, digest(environment))
    results = write(folder, doc, accuracy, execution=lambda run: group.key)
    add_groups(folder, environment, [group])
    return results


def test_two_machines_are_described_and_not_tested(tmp_path):
    a = made_on(tmp_path / "a", small(), "old", curve())
    b = made_on(tmp_path / "b", small(), "new", curve(1, lost("batch", 8, 0.5)))
    found = compare(a, b)
    table = found.tables["changes"]
    assert set(table["verdict"]) == {"described only"}
    assert set(table["refusal"]) == {"confounded with machine: cpu old → new"}
    assert table[["p", "adjusted_p", "low", "simultaneous_low", "equal_p"]].isna().all().all()
    assert table["estimate"].notna().all()
    assert found.tested == 0
    said = sentences(found)
    assert said[0].startswith("Described only, without tests: confounded with machine: cpu old →")
    assert "p =" not in " ".join(said)
    assert "p <" not in " ".join(said)
    page = versus_page(a, b, found)
    assert "described only" in render_page(page)
    assert not any("interval" in line for line in page.lines)


def test_one_machine_is_tested_whatever_the_groups(tmp_path):
    a = made_on(tmp_path / "a", small(), "same", curve())
    b = made_on(tmp_path / "b", small(seeds=9), "same", curve(1))
    assert compare(a, b).tested == 4


def test_an_unknown_machine_is_not_taken_for_the_same(tmp_path):
    _, _, found = both(tmp_path, execution=lambda run: None, in_a={"execution": lambda run: None})
    assert set(found.tables["changes"]["verdict"]) == {"described only"}
    assert "not recorded" in found.tables["changes"]["refusal"].iloc[0]


# -- equality ----------------------------------------------------------------------------------

END = {"kind": "final", "failure_score": 0.9, "window": 1}


def with_margin(margin: float):
    return small(claim=[{
        "id": "same", "kind": "equivalence", "a": "layer", "b": "batch", "endpoint": END,
        "margin": margin,
    }])  # fmt: skip


def test_nothing_is_equal_without_a_declared_margin(tmp_path):
    _, _, found = both(tmp_path)
    assert "equal" not in set(found.tables["changes"]["verdict"])
    assert found.equal_tested == 0


def test_within_a_declared_margin_cells_are_equal(tmp_path):
    _, _, found = both(tmp_path, with_margin(0.05), with_margin(0.08),
                       b=curve(1, lost("batch", 8, 0.1)))  # fmt: skip
    assert verdicts(found) == {
        ("batch", 8): "worse", ("batch", 32): "equal", ("layer", 8): "equal",
        ("layer", 32): "equal",
    }  # fmt: skip
    assert set(found.tables["changes"]["margin"]) == {0.05}
    assert found.equal_tested == 4
    assert "3 equal within the declared margin" in sentences(found)[0]


def test_a_small_clear_change_is_both(tmp_path):
    _, _, found = both(tmp_path, with_margin(0.2), b=curve(1, lost("batch", 8, 0.05)))
    assert verdicts(found)[("batch", 8)] == "worse, within the margin"
    assert sentences(found)[0].startswith("Of 4 matched cells, 1 worse in B")
