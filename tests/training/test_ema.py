"""Averaged weights are those of torch's own averaging, and the training knows nothing of them."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from normbench.errors import UsageError
from normbench.plan.spec import RunSpec
from normbench.training.check import check_cell
from normbench.training.data import prepare
from normbench.training.engine import Engine
from normbench.training.evaluate import PlainEvaluator, evaluate
from normbench.training.loop import train
from normbench.training.packed import PackedEngine
from normbench.training.plain import PlainEngine
from normbench.training.stacked import StackedEngine
from tests.builders import cell, run_of
from tests.training.engines import MEASURED, assert_as_alone, in_double

BASE: dict[str, Any] = {
    "model": {"name": "small-cnn", "width": 4}, "batch_size": 6, "budget_steps": 9,
    "evaluations": 3, "statistics_samples": 20, "learning_rate": 0.05, "ema": 0.8,
}  # fmt: skip
#: What is of the trained weights themselves.
OF_TRAINING = {"train_loss", "train_accuracy", "grad_norm", "update_norm", "weight_norm", "step"}


def runs_of(count: int, **axes: Any) -> list[RunSpec]:
    return [run_of(seed=seed, **(BASE | axes)) for seed in range(count)]


def numbers(row: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key not in MEASURED}


@pytest.mark.parametrize("buffers", ["averaged", "copied", "recomputed"])
@pytest.mark.parametrize("norm", ["batch", "layer"])
def test_what_is_evaluated_is_torchs_averaged_model(buffers: str, norm: str) -> None:
    if norm == "layer" and buffers == "recomputed":
        norm = "batch-renorm"
    (run,) = runs_of(1, norm=norm, ema_buffers=buffers)
    data = in_double(prepare(run.cell))
    engine = PlainEngine(run, data)
    average = AveragedModel(
        engine.model,
        multi_avg_fn=get_ema_multi_avg_fn(0.8),
        use_buffers=buffers == "averaged",
    )
    for step in range(4):
        engine.step(torch.arange(6)[None] + step, step)
        average.update_parameters(engine.model)
    (found,) = engine.evaluate()
    model = copy.deepcopy(engine.model)
    model.load_state_dict(average.module.state_dict())
    (wanted,) = evaluate(PlainEvaluator(model), data, 6, 20)
    kinds = {"running", "batch", "recomputed"} if norm.startswith("batch") else {"running"}
    for part in ("validation", "test"):
        own, theirs = getattr(found, part), getattr(wanted, part)
        assert own.keys() == theirs.keys() == kinds
        for kind in kinds:
            other = "recomputed" if buffers == "recomputed" and kind == "running" else kind
            assert own[kind].loss == pytest.approx(theirs[other].loss, rel=1e-9), kind
    if buffers != "recomputed":
        assert found.train.loss == pytest.approx(wanted.train.loss, rel=1e-9)
    else:
        assert found.train.loss != pytest.approx(wanted.train.loss, rel=1e-4)
    (trained,) = evaluate(engine.evaluator, data, 6, 20)
    assert found.test["running"].loss != pytest.approx(trained.test["running"].loss, rel=1e-4)


@pytest.mark.parametrize(
    "make", [lambda runs, data: PlainEngine(runs[0], data), StackedEngine, PackedEngine]
)
@pytest.mark.parametrize("buffers", ["averaged", "copied", "recomputed"])
def test_training_is_the_same_to_the_last_bit(make: Callable[..., Engine], buffers: str) -> None:
    """Whatever is evaluated in between; before the first step it is the initial weights."""
    (averaged,) = runs_of(1, norm="batch", ema_buffers=buffers)
    (bare,) = runs_of(1, norm="batch", ema=0.0)
    data = prepare(bare.cell)
    one, other = make([averaged], data), make([bare], data)
    (found,), (wanted,) = train(one), train(other)
    start, first = numbers(found.epochs[0]), numbers(wanted.epochs[0])
    if buffers != "recomputed":
        assert start == first
    for row, plain in zip(found.epochs[1:], wanted.epochs[1:], strict=True):
        assert {k: row[k] for k in OF_TRAINING} == {k: plain[k] for k in OF_TRAINING}
        assert row["val_loss"] != plain["val_loss"]
    state, others = one.export(0).state_dict(), other.export(0).state_dict()
    assert all(torch.equal(state[k].clone(), v) for k, v in others.items())


@pytest.mark.parametrize("make", [StackedEngine, PackedEngine])
@pytest.mark.parametrize(
    "axes",
    [
        {"norm": "batch"},
        {"norm": "batch", "ema_buffers": "copied", "accumulate": 2},
        {"norm": "batch", "ema_buffers": "recomputed", "optimizer": "adam", "learning_rate": 0.003},
        {"norm": "batch-frozen"},
        {"norm": "layer", "clip_norm": 0.1},
        {
            "norm": "batch", "model": {"name": "gru", "hidden": 4}, "budget_steps": 4,
            "dataset": {"name": "digits-rows", "items": 100},
        },
        {
            "norm": {"name": "batch", "time": "pooled"}, "model": {"name": "lstm", "hidden": 4},
            "dataset": {"name": "digits-rows", "items": 100}, "budget_steps": 4,
            "ema_buffers": "recomputed",
        },
    ],
    ids=str,
)  # fmt: skip
def test_other_engines_give_the_plain_engines_rows(
    make: Callable[..., Engine], axes: dict[str, Any]
) -> None:
    assert_as_alone(runs_of(3, **axes), make=make)


def test_an_average_of_nothing_but_the_last_weights_is_these() -> None:
    """The smaller the decay, the nearer; decay 0 is no averaging, and its identity the same."""
    (bare,), (nearly,) = runs_of(1, ema=0.0), runs_of(1, ema=1e-12)
    data = in_double(prepare(bare.cell))
    (wanted,), (found,) = train(PlainEngine(bare, data)), train(PlainEngine(nearly, data))
    for row, plain in zip(found.epochs, wanted.epochs, strict=True):
        assert row["val_loss"] == pytest.approx(plain["val_loss"], rel=1e-9)


def test_probes_look_at_the_weights_that_are_trained() -> None:
    axes = {"norm": "batch", "probes": ["weights"], "evaluations": 1}
    (averaged,), (bare,) = runs_of(1, **axes), runs_of(1, **(axes | {"ema": 0.0}))
    data = prepare(bare.cell)
    (found,), (wanted,) = train(PlainEngine(averaged, data)), train(PlainEngine(bare, data))
    assert [row["value"] for row in found.probes] == [row["value"] for row in wanted.probes]


def test_what_becomes_of_statistics_is_only_asked_where_weights_are_averaged() -> None:
    with pytest.raises(UsageError, match=r"ema_buffers = 'copied' is for runs whose weights are"):
        check_cell(cell(ema_buffers="copied"))
    assert check_cell(cell(ema_buffers="copied", ema=0.9)) is None
