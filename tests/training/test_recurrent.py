"""Training recurrent nets: alone, together, and on sequences longer than any in training."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch

from normbench.calibration.calibrate import calibrate
from normbench.calibration.tasks import Calibration
from normbench.models.packed.choose import memory
from normbench.models.packed.graph import UnsupportedError
from normbench.plan.spec import RunSpec
from normbench.training.check import check_cell
from normbench.training.data import Prepared, prepare
from normbench.training.evaluate import PlainEvaluator, evaluate
from normbench.training.loop import Outcome
from normbench.training.packed import PackedEngine, variants
from normbench.training.plain import PlainEngine
from tests.builders import run_of
from tests.training.engines import MEASURED, assert_as_alone, in_double, train_alone, train_together

ROWS = {"name": "digits-rows", "items": 100}
ADDING = {"name": "adding", "items": 100, "length": 6, "test_length": 11}
PER_STEP, POOLED = {"name": "batch"}, {"name": "batch", "time": "pooled"}
BASE: dict[str, Any] = {
    "dataset": ROWS, "model": {"name": "lstm", "hidden": 6}, "batch_size": 6, "budget_steps": 30,
    "evaluations": 3, "statistics_samples": 24, "learning_rate": 0.003, "optimizer": "adam",
}  # fmt: skip


def runs_of(count: int, **axes: Any) -> list[RunSpec]:
    return [run_of(seed=seed, **(BASE | axes)) for seed in range(count)]


# -- together ----------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [pytest.param(n, marks=pytest.mark.slow) for n in (1, 3, 8)])
@pytest.mark.parametrize("norm", ["none", "layer", PER_STEP, POOLED], ids=str)
def test_runs_that_are_trained_together_give_the_plain_loops_rows(norm: Any, width: int) -> None:
    assert_as_alone(runs_of(width, norm=norm))


@pytest.mark.parametrize("model", ["gru", "rnn"])
@pytest.mark.parametrize("norm", ["layer", PER_STEP, {"name": "group", "groups": 3}], ids=str)
def test_other_cells_give_the_plain_loops_rows(norm: Any, model: str) -> None:
    assert_as_alone(runs_of(3, norm=norm, model={"name": model, "hidden": 6}, budget_steps=6))


@pytest.mark.parametrize("norm", ["none", "layer", PER_STEP, POOLED], ids=str)
def test_regressions_and_longer_tests_give_the_plain_loops_rows(norm: Any) -> None:
    assert_as_alone(runs_of(3, norm=norm, dataset=ADDING, budget_steps=8))


@pytest.mark.parametrize(
    "axes",
    [
        {"sites": ["input"]},
        {"sites": ["cell"], "norm": POOLED},
        {"norm": {"name": "batch", "affine": False, "momentum": 0.3}},
        {"norm": {"name": "layer", "affine": False}},
        {"norm_batch_size": 3},
        {"norm_batch_size": 3, "norm": POOLED},
        {"clip_norm": 0.5, "norm": "none"},
        {"optimizer": {"name": "sgd", "weight_decay": 0.01}, "learning_rate": 0.05},
        {"batch_size": 2, "norm": {"name": "batch", "eps": 1e-2}},
        {"batch_size": 1, "norm": "layer"},
        {"batch_size": 1, "norm": POOLED, "sites": ["input"]},
    ],
    ids=str,
)
def test_the_other_axes_give_the_plain_loops_rows(axes: dict[str, Any]) -> None:
    assert_as_alone(runs_of(2, **({"norm": "batch", "budget_steps": 6, "evaluations": 2} | axes)))


@pytest.mark.parametrize("norm", ["layer", PER_STEP, POOLED], ids=str)
def test_the_size_of_an_evaluations_pieces_changes_only_rounding(norm: Any) -> None:
    runs = runs_of(3, norm=norm)
    data = in_double(prepare(runs[0].cell))
    with torch.no_grad():
        packed = PackedEngine(runs, data).packed
        many, few = packed.evaluator(10**6), packed.evaluator(10**6)
        assert many.limit > 24
        few.limit = 4
        x, _ = next(iter(data.train.first(24).chunks(24)))
        for mode, batch in (("running", 0), ("batch", 6)):
            a, b = (one.logits(x, mode, batch) for one in (many, few))  # type: ignore[arg-type]
            assert (a - b).abs().max() < 1e-12
        found = []
        for one in (many, few):
            with one.recomputed([x], 6):
                found.append(one.logits(x))
        assert (found[0] - found[1]).abs().max() < 1e-12


def test_wide_groups_of_recurrent_nets_evaluate_few_sequences_at_once() -> None:
    runs = runs_of(3, norm="layer")
    packed = PackedEngine(runs, prepare(runs[0].cell)).packed
    assert packed.evaluator(256).limit == 256
    packed.members = 96
    assert packed.evaluator(256).limit == 16


def test_learning_rates_may_differ_and_one_may_diverge() -> None:
    sgd = {"optimizer": "sgd", "norm": "none", "dataset": ADDING}
    runs = [
        run_of(seed=seed, **(BASE | sgd | {"learning_rate": rate}))
        for seed, rate in ((0, 0.01), (1, 1e6), (2, 0.01))
    ]
    data = prepare(runs[0].cell)
    first, dead, last = train_together(runs, data)
    assert (first.status, dead.status, last.status) == ("finished", "diverged", "finished")
    for found, run in ((first, runs[0]), (last, runs[2])):
        expected = train_alone(run, data).epochs[-1]["val_loss"]
        assert found.epochs[-1]["val_loss"] == pytest.approx(expected, rel=1e-4)


def test_a_repetition_has_the_same_bits() -> None:
    runs = runs_of(2, norm="batch", budget_steps=5, evaluations=1)
    data = prepare(runs[0].cell)
    one, two = train_together(runs, data), train_together(runs, data)
    for a, b in zip(one, two, strict=True):
        for row, other in zip(a.epochs, b.epochs, strict=True):
            assert all(row[k] == other[k] for k in row.keys() - MEASURED if row[k] == row[k])


def test_recurrent_cells_are_calibrated_in_both_forms() -> None:
    run = runs_of(1, norm="batch")[0]
    assert variants(run.cell, prepare(run.cell), "cpu") == [""]
    found = calibrate(Calibration("", run, 4, 4000, "cpu", 1, "packed"))
    assert {one.engine.name for one in found.measured} == {"plain", "packed"}
    net = PackedEngine([run], prepare(run.cell)).packed.net
    assert memory(net, 8) > 4 * memory(net, 1)


def test_regressions_of_other_networks_need_the_plain_loop() -> None:
    run = runs_of(1, norm="layer", model="mlp", dataset=ADDING | {"test_length": 6})[0]
    with pytest.raises(UnsupportedError, match="this is a regression"):
        variants(run.cell, prepare(run.cell), "cpu")


# -- evaluation --------------------------------------------------------------------------------


def trained(**axes: Any) -> tuple[PlainEngine, Prepared]:
    run = runs_of(1, **axes)[0]
    data = in_double(prepare(run.cell))
    engine = PlainEngine(run, data)
    for step in range(10):
        engine.step(torch.arange(6 * step, 6 * step + 6)[None], step)
    return engine, data


@pytest.mark.parametrize("norm", [PER_STEP, POOLED], ids=str)
def test_batch_norm_is_evaluated_in_three_ways_on_longer_sequences(norm: Any) -> None:
    engine, data = trained(norm=norm, dataset=ADDING)
    assert data.test.shape == (2, 11)
    state = {k: v.clone() for k, v in engine.model.state_dict().items()}
    (found,) = evaluate(PlainEvaluator(engine.model), data, 6, 24)
    assert all(torch.equal(state[k], v) for k, v in engine.model.state_dict().items())
    for scores in (found.validation, found.test):
        losses = [scores[kind].loss for kind in ("running", "recomputed", "batch")]
        assert len(set(losses)) == 3
        assert np.isfinite(losses).all()
    # by hand, with the statistics of each batch of six
    part, outputs = data.test.whole_batches(6), []
    with torch.no_grad():
        for start in range(0, len(part), 6):
            outputs.append(copy.deepcopy(engine.model).train()(part.x[start : start + 6]))
    errors = (torch.cat(outputs)[: len(data.test), 0] - data.test.y).square()
    assert found.test["batch"].loss == pytest.approx(errors.mean().item(), rel=1e-9)


def test_a_run_of_the_adding_problem_learns_something() -> None:
    """More than always answering the mean, whose squared error is the labels' variance."""
    run = run_of(
        seed=0, norm="layer", dataset={"name": "adding", "items": 600, "length": 4,
        "test_length": 4}, model={"name": "lstm", "hidden": 16}, batch_size=20, epochs=15,
        learning_rate=0.01, optimizer="adam",
    )  # fmt: skip
    outcome: Outcome = train_alone(run, prepare(run.cell))
    assert outcome.status == "finished"
    assert outcome.label_variance == pytest.approx(1 / 6, rel=0.1)
    assert outcome.epochs[-1]["val_loss"] < 0.3 * outcome.epochs[0]["val_loss"]


@pytest.mark.parametrize("norm", ["none", "layer", "batch"])
def test_cells_of_recurrent_nets_are_checked_before_training(norm: str) -> None:
    run = runs_of(1, norm=norm)[0]
    assert check_cell(run.cell) is None
    alone = runs_of(1, norm=norm, batch_size=1)[0]
    assert (check_cell(alone.cell) is None) == (norm != "batch")


def test_probes_see_a_recurrent_net_in_both_forms_and_change_nothing() -> None:
    axes = {"norm": "batch", "budget_steps": 4, "evaluations": 1}
    bare, probed = (runs_of(1, **axes, **more)[0] for more in ({}, {"probes": ["weights"]}))
    data = prepare(bare.cell)
    alone, together = train_alone(probed, data), train_together([probed], data)[0]
    assert len(alone.probes) == len(together.probes) > 0
    assert alone.epochs[-1]["val_loss"] == train_alone(bare, data).epochs[-1]["val_loss"]
