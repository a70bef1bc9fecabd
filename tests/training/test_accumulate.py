"""Several batches in a step: the mean of their gradients, and statistics of each batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from normbench.errors import UsageError
from normbench.norms.batch_frozen import FrozenBatchNorm
from normbench.plan.spec import RunSpec
from normbench.training.budget import LearningRates, schedule_of
from normbench.training.check import check_cell
from normbench.training.data import prepare
from normbench.training.engine import Engine
from normbench.training.loop import train
from normbench.training.packed import PackedEngine
from normbench.training.plain import PlainEngine
from normbench.training.stacked import StackedEngine
from tests.builders import cell, run_of
from tests.training.engines import assert_as_alone, in_double

BASE: dict[str, Any] = {
    "model": {"name": "small-cnn", "width": 4}, "batch_size": 3, "accumulate": 4,
    "budget_steps": 7, "evaluations": 2, "statistics_samples": 20, "learning_rate": 0.05,
}  # fmt: skip
MADE: list[Callable[..., Engine]] = [
    lambda runs, data: PlainEngine(runs[0], data), StackedEngine, PackedEngine,
]  # fmt: skip


def runs_of(count: int, **axes: Any) -> list[RunSpec]:
    return [run_of(seed=seed, **(BASE | axes)) for seed in range(count)]


def values(engine: Engine) -> dict[str, torch.Tensor]:
    return {k: v.clone() for k, v in engine.export(0).state_dict().items()}


@pytest.mark.parametrize("make", MADE)
@pytest.mark.parametrize("norm", ["none", "layer", "rms"])
@pytest.mark.parametrize(
    "axes",
    [
        {},
        {"optimizer": {"name": "sgd", "momentum": 0.8, "nesterov": True}},
        {"optimizer": {"name": "adamw", "weight_decay": 0.1}, "learning_rate": 0.003},
        {"clip_norm": 0.1},
    ],
    ids=str,
)
def test_k_batches_are_one_of_k_times_the_size(
    make: Callable[..., Engine], norm: str, axes: dict[str, Any]
) -> None:
    """For norms that see a sample at a time: one step, and several."""
    one, other = (
        run_of(norm=norm, **(BASE | axes | sizes))
        for sizes in ({"batch_size": 3, "accumulate": 4}, {"batch_size": 12, "accumulate": 1})
    )
    data = in_double(prepare(one.cell))
    engines = [make([run], data) for run in (one, other)]
    for step in range(3):
        index = (torch.arange(12) + 5 * step)[None]
        found = []
        for engine in engines:
            engine.begin(step)
            found.append(engine.gradients(index))
            engine.update(step)
        (loss, outputs, labels), (whole, all_outputs, all_labels) = found
        assert float(loss) == pytest.approx(float(whole), rel=1e-9)
        assert torch.allclose(outputs, all_outputs, rtol=0, atol=1e-9)
        assert torch.equal(labels, all_labels)
        ones, others = (values(engine) for engine in engines)
        assert all(torch.allclose(ones[k], v, rtol=0, atol=1e-9) for k, v in others.items())
    few, many = (train(make([run], data))[0] for run in (one, other))
    assert (few.steps, few.samples) == (many.steps, many.samples) == (7, 84)
    for row, wanted in zip(few.epochs, many.epochs, strict=True):
        for key in ("epoch", "samples", "train_loss", "val_loss", "grad_norm", "update_norm"):
            if key in row:
                assert row[key] == pytest.approx(wanted[key], rel=1e-7), key


@pytest.mark.parametrize("make", MADE)
def test_batch_norm_sees_each_batch(make: Callable[..., Engine]) -> None:
    """Its running statistics move once a batch, and its outputs are those of torch's own."""
    run = run_of(norm="batch", **(BASE | {"sites": ["conv1"]}))
    data = in_double(prepare(run.cell))
    engine = make([run], data)
    index = torch.arange(12)
    plain = PlainEngine(run, data).model
    theirs = nn.BatchNorm2d(4).double()
    for batch in index.split(3):
        theirs(plain.parts["conv1"](data.train.x[batch]))
    engine.begin(0)
    engine.gradients(index[None])
    engine.update(0)
    found = values(engine)
    for name in ("running_mean", "running_var"):
        wanted = getattr(theirs, name)
        assert torch.allclose(found[f"parts.conv1_norm.{name}"], wanted, rtol=0, atol=1e-9)
    whole = make([run_of(norm="batch", **(BASE | {"batch_size": 12, "accumulate": 1}))], data)
    whole.begin(0)
    whole.gradients(index[None])
    assert engine.gradient_norms() != pytest.approx(whole.gradient_norms(), rel=1e-3)


@pytest.mark.parametrize("make", [StackedEngine, PackedEngine])
@pytest.mark.parametrize(
    "axes",
    [
        {"norm": "batch"},
        {"norm": "batch", "clip_norm": 0.1, "optimizer": "adam", "learning_rate": 0.003},
        {"norm": {"name": "batch-renorm", "plain": 0.2, "r_by": 0.5, "d_by": 0.5}},
        {"norm": {"name": "batch-frozen", "after": 0.4}},
        {"norm": "layer", "optimizer": {"name": "sgd", "momentum": 0.0}},
        {"norm": "batch", "batch_size": 4, "norm_batch_size": 2, "accumulate": 2},
        {
            "norm": "batch", "model": {"name": "lstm", "hidden": 4}, "budget_steps": 4,
            "dataset": {"name": "digits-rows", "items": 100},
        },
    ],
    ids=str,
)  # fmt: skip
def test_other_engines_give_the_plain_engines_rows(
    make: Callable[..., Engine], axes: dict[str, Any]
) -> None:
    assert_as_alone(runs_of(3, **axes), make=make)


@pytest.mark.parametrize("make", [StackedEngine, PackedEngine])
def test_rates_may_differ(make: Callable[..., Engine]) -> None:
    runs = [run_of(norm="batch", **(BASE | {"learning_rate": r})) for r in (0.1, 0.01, 0.001)]
    assert_as_alone(runs, make=make)


def test_a_step_takes_all_its_batches() -> None:
    """Steps, samples, epochs and scaled rates count what an update rests on."""
    one = run_of(norm="layer", batch_size=8, accumulate=3, epochs=2, lr_scaling="linear")
    schedule = schedule_of(one, 60)
    assert (schedule.steps_per_epoch, schedule.steps) == (2, 4)
    assert LearningRates(one.cell, 4).base == pytest.approx(0.05 * 24 / 32)
    budget = cell(batch_size=8, accumulate=3, epochs=None, budget_samples=100)
    assert budget.budget_in_steps(2) == 5
    (outcome,) = train(PlainEngine(one, prepare(one.cell)))
    assert (outcome.steps, outcome.samples) == (4, 96)
    assert [row["samples"] for row in outcome.epochs] == [0, 48, 96]
    assert [row["epoch"] for row in outcome.epochs] == [0, 1, 2]
    assert all(0 <= row["train_accuracy"] <= 1 for row in outcome.epochs[1:])


def test_a_step_of_more_than_the_training_split_is_refused() -> None:
    assert check_cell(cell(batch_size=20, accumulate=3)) is None
    with pytest.raises(UsageError, match=r"received 21 × 3 = 63; use fewer"):
        check_cell(cell(batch_size=21, accumulate=3))


def test_norms_that_change_count_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """A plain average of statistics weighs the k-th batch 1/k, whichever step it is in."""
    seen: list[tuple[int, int]] = []
    (run,) = runs_of(1, norm={"name": "batch-frozen", "after": 1.0}, sites=["conv1"])
    engine = PlainEngine(run, prepare(run.cell))
    real = FrozenBatchNorm.update_weight

    def watched(norm: FrozenBatchNorm) -> float:
        seen.append((norm.step, norm.steps))
        return real(norm)

    monkeypatch.setattr(FrozenBatchNorm, "update_weight", watched)
    for step in range(2):
        engine.step(torch.arange(12)[None], step)
    assert seen == [(i, 28) for i in range(8)]
