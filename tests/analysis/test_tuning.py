"""Learning rates tuned on seeds of their own."""

from __future__ import annotations

import copy
import json
import math
from pathlib import Path
from typing import Any

import pytest

from normbench.analysis.tuning import rate_choices, tuning_table, wider_grids
from normbench.executors.inline import InlineExecutor
from normbench.plan.decisions import Decisions, cell_key
from normbench.plan.expand import expand
from normbench.plan.spec import RunSpec
from normbench.protocol.load import parse
from normbench.results.decisions import read_decisions
from normbench.results.load import Results
from normbench.workflow import prepare_plan, run_study
from tests.analysis.made import document, noise, write
from tests.support import Watcher

GRID = [0.01, 0.1, 1.0, 10.0]


def tuned(**tune: Any) -> dict[str, Any]:
    doc = document()
    del doc["defaults"]["learning_rate"]
    doc["experiment"][0]["tune"] = {"learning_rate": GRID, "seeds": 3} | tune
    return doc


def accuracy(run: RunSpec) -> float:
    """Best at 0.1 for all norms; layer norm is stable over a wider range."""
    rate = run.cell.learning_rate
    assert rate is not None
    width = 1.0 if run.cell.norm.name == "layer" else 4.0
    return 0.9 - 0.01 * width * math.log10(rate / 0.1) ** 2 + noise(run, 1e-4)


def test_the_best_rate_is_chosen_and_the_stable_range_measured(tmp_path: Path) -> None:
    def status(run: RunSpec) -> str:
        if run.phase != "tuning":
            return "missing"
        blown = run.cell.learning_rate == 10.0 and run.cell.norm.name == "none"
        return "diverged" if blown else "finished"

    results = write(tmp_path, tuned(), accuracy, status=status)
    choices = rate_choices(tuning_table(results)).set_index(["norm", "batch_size"])
    assert (choices["learning_rate"] == 0.1).all()
    assert (choices["edge_of_grid"] == "").all()
    assert choices.loc[("layer", 8), "stable_low"] == 0.01
    assert choices.loc[("layer", 8), "stable_high"] == 1.0
    assert choices.loc[("none", 8), "stable_octaves"] == 0.0
    table = tuning_table(results)
    blown = table[(table["norm"] == "none") & (table["learning_rate"] == 10.0)]
    assert (blown["diverged"] == 3).all()
    assert blown["mean"].to_numpy() == pytest.approx(0.9)


def test_a_choice_at_the_edge_of_the_grid_is_told(tmp_path: Path) -> None:
    results = write(
        tmp_path,
        tuned(learning_rate=[0.1, 1.0]),
        accuracy,
        status=lambda run: "finished" if run.phase == "tuning" else "missing",
    )
    assert (rate_choices(tuning_table(results))["edge_of_grid"] == "lowest").all()


def test_nothing_is_chosen_before_all_tuning_runs_are_there(tmp_path: Path) -> None:
    def status(run: RunSpec) -> str:
        late = run.seed == 1_000_002 and run.cell.norm.name == "batch"
        return "finished" if run.phase == "tuning" and not late else "missing"

    table = tuning_table(write(tmp_path, tuned(), accuracy, status=status))
    chosen = table[table["chosen"]]
    assert set(chosen["norm"]) == {"none", "layer", "group"}


def test_tuning_seeds_must_differ_from_evaluation_seeds() -> None:
    with pytest.raises(Exception, match="tuning seeds must differ") as caught:
        parse(tuned(seeds=[3, 77]), "x.toml", "x")
    assert "[3]" in str(caught.value)


def test_a_rate_cannot_be_tuned_and_set() -> None:
    doc = tuned()
    doc["experiment"][0]["product"]["learning_rate"] = [0.1, 0.2]
    with pytest.raises(Exception, match="tunes its learning rate and sets it too"):
        parse(doc, "x.toml", "x")


SMALL: dict[str, Any] = {
    "protocol": {"name": "small", "seeds": 2, "window": 1},
    "defaults": {
        "dataset": {"name": "digits", "items": 100},
        "model": {"name": "mlp", "width": 8},
        "epochs": 1,
    },
    "experiment": [
        {
            "name": "one",
            "tune": {"learning_rate": [0.01, 0.2], "seeds": 2},
            "product": {"norm": ["none", "layer"], "batch_size": [8]},
        }
    ],
}


def sweep(folder: Path, doc: dict[str, Any]) -> Watcher:
    watcher = Watcher()
    planned = prepare_plan(parse(doc, "small.toml", "small"))
    run_study(planned, "", folder, InlineExecutor(), watcher, device="cpu", workers=0)
    return watcher


def test_a_tuned_sweep_runs_to_its_end_and_keeps_its_choices(tmp_path: Path) -> None:
    first = sweep(tmp_path, SMALL)
    results = Results(tmp_path)
    assert results.runs["status"].eq("finished").all()
    phases = results.runs.groupby("phase").size()
    assert dict(phases) == {"evaluation": 4, "tuning": 8}
    evaluation = results.runs[results.runs["phase"] == "evaluation"]
    decisions = read_decisions(tmp_path)
    for norm, part in evaluation.groupby("norm"):
        cell = next(c for c in results.study.experiments[0].cells if c.norm.name == norm)
        assert (part["learning_rate"] == decisions.rates[cell_key(cell)]).all()
    assert len(first.rows) == 12
    assert sweep(tmp_path, SMALL).rows == []


def only_tuning(run: RunSpec) -> str:
    return "finished" if run.phase == "tuning" else "missing"


def test_a_rate_may_be_chosen_on_one_norm_for_all(tmp_path: Path) -> None:
    doc = tuned(on="none")
    study = parse(doc, "x.toml", "x")
    cells = study.experiments[0].cells
    baseline = [cell for cell in cells if cell.norm.name == "none"]
    tuning = [run for run in expand(study) if run.phase == "tuning"]
    assert {run.cell.norm.name for run in tuning} == {"none"}
    assert len(tuning) == len(baseline) * len(GRID) * 3

    results = write(tmp_path, doc, accuracy, status=only_tuning)
    assert set(rate_choices(tuning_table(results))["norm"]) == {"none"}
    # each setting has a rate of its own, which every norm takes
    rates = {cell_key(cell): 0.1 * cell.batch_size for cell in baseline}
    runs = [run for run in expand(study, Decisions(rates)) if run.phase == "evaluation"]
    assert len(runs) == len(cells) * 10
    assert all(run.cell.learning_rate == 0.1 * run.cell.batch_size for run in runs)


def test_a_rate_is_chosen_on_a_norm_that_is_there() -> None:
    with pytest.raises(Exception, match="chosen on a norm of this experiment") as caught:
        parse(tuned(on="weight"), "x.toml", "x")
    assert "one of none" in str(caught.value)


@pytest.mark.parametrize(
    ("grid", "added"), [([1.0, 10.0], 0.333333), ([0.001, 0.01], 0.03), ([0.01, 0.1, 1.0], None)]
)
def test_a_best_rate_at_an_edge_asks_for_another_beyond_it(
    tmp_path: Path, grid: list[float], added: float | None
) -> None:
    doc = tuned(learning_rate=grid, widen=1)
    table = tuning_table(write(tmp_path, doc, accuracy, status=only_tuning))
    wanted = wider_grids(table)
    assert set(wanted.values()) == ({added} if added else set())
    assert table["chosen"].any() == (added is None)


def test_a_grid_grows_until_its_best_rate_is_inside_or_it_may_not(tmp_path: Path) -> None:
    doc = copy.deepcopy(SMALL)
    doc["protocol"]["metric"] = "loss"
    # far too low: the best is at the upper edge again and again
    doc["experiment"][0]["tune"] = {
        "learning_rate": [0.01, 0.02], "seeds": 2, "on": "none", "widen": 2,
    }  # fmt: skip
    sweep(tmp_path, doc)
    results = Results(tmp_path)
    assert results.runs["status"].eq("finished").all()
    tried = results.runs[results.runs["phase"] == "tuning"]
    assert sorted(tried["learning_rate"].unique()) == [0.01, 0.02, 0.06, 0.18]
    assert set(tried["norm"]) == {"none"}
    evaluation = results.runs[results.runs["phase"] == "evaluation"]
    assert evaluation["learning_rate"].nunique() == 1
    assert set(evaluation["norm"]) == {"none", "layer"}
    record = json.loads((tmp_path / "decisions.json").read_text())
    assert list(record["grids"].values()) == [[0.06, 0.18]]
    assert sweep(tmp_path, doc).rows == []


def test_experiments_that_share_tuning_runs_have_a_row_each(tmp_path: Path) -> None:
    doc = tuned()
    doc["experiment"].append(copy.deepcopy(doc["experiment"][0]) | {"name": "again"})
    doc["experiment"][1]["tune"]["on"] = "none"
    results = write(tmp_path, doc, accuracy, status=only_tuning)
    choices = rate_choices(tuning_table(results))
    norms = choices.groupby("experiment")["norm"].apply(set).to_dict()
    assert norms[doc["experiment"][0]["name"]] == {"none", "batch", "layer", "group"}
    assert norms["again"] == {"none"}
    assert (choices["stable_octaves"] >= 0).all()
    assert not choices.duplicated(["experiment", "norm", "batch_size"]).any()


def test_what_came_later_changes_no_protocol_that_does_not_use_it() -> None:
    tune = parse(tuned(), "x.toml", "x").experiments[0].tune
    assert tune is not None
    assert set(tune.model_dump()) == {"learning_rate", "seeds", "rule", "stable_within"}


def test_tuning_seeds_do_not_reach_the_comparisons(tmp_path: Path) -> None:
    rates = Decisions({cell_key(c): 0.1 for c in parse(tuned(), "x", "x").experiments[0].cells})
    results = write(tmp_path, tuned(), accuracy, decisions=rates)
    (tmp_path / "decisions.json").write_text(
        '{"version": 1, "thresholds": {}, "rates": {'
        + ", ".join(f'"{k}": {{"learning_rate": {v}}}' for k, v in rates.rates.items())
        + "}}"
    )
    from normbench.analysis.tables import analyse

    final = analyse(results)["final"]
    assert sorted(final["seed"].unique()) == list(range(10))
