"""When a run ends, when it is evaluated, and what stands in between."""

from __future__ import annotations

from typing import Any

import pytest

from normbench.training.budget import Schedule, schedule_of
from tests.builders import run_of

CNN = {"name": "small-cnn", "width": 4}


# -- schedules ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("per_epoch", "epochs", "evaluations", "steps"),
    [
        (10, 2, 1, [10, 20]),
        (10, 1, 2, [5, 10]),
        (10, 2, 5, [2, 4, 6, 8, 10, 12, 14, 16, 18, 20]),
        (3, 2, 3, [1, 2, 3, 4, 5, 6]),
        (3, 1, 100, [1, 2, 3]),
        (1, 3, 1000, [1, 2, 3]),
        (7, 2, 2, [4, 7, 10, 14]),
    ],
)
def test_evaluation_steps(per_epoch: int, epochs: int, evaluations: int, steps: list[int]) -> None:
    total = per_epoch * epochs
    assert Schedule(per_epoch, total, epochs * evaluations).evaluation_steps() == steps


@pytest.mark.parametrize(
    ("axes", "steps", "stops"),
    [
        ({"budget_steps": 20}, 20, [2, 4, 6, 8, 10, 12, 14, 16, 18, 20]),
        ({"budget_steps": 3}, 3, [1, 2, 3]),
        ({"budget_samples": 40, "evaluations": 2}, 5, [2, 5]),
        ({"budget_samples": 41, "evaluations": 1}, 6, [6]),
        ({"epochs": 2, "evaluations": 1}, 14, [14]),
    ],
)
def test_budgets_in_steps_and_samples(axes: dict[str, Any], steps: int, stops: list[int]) -> None:
    schedule = schedule_of(run_of(batch_size=8, **axes), 60)
    assert (schedule.steps, schedule.evaluation_steps()) == (steps, stops)


def test_a_run_ends_with_its_budget_in_the_middle_of_an_epoch(trained: Any) -> None:
    found = trained(norm="layer", budget_steps=10, evaluations=2)
    assert found.steps == 10
    assert found.samples == 80
    assert [row["step"] for row in found.epochs] == [0, 5, 10]
    assert [row["epoch"] for row in found.epochs] == [0, 5 / 7, 10 / 7]
    whole = trained(norm="layer", epochs=2, evaluations=14)
    assert found.epochs[-1]["val_loss"] == whole.epochs[10]["val_loss"]


def test_the_schedule_sets_the_rate_of_every_step(trained: Any) -> None:
    schedule = {"name": "linear", "warmup": 0.5}
    found = trained(norm="layer", budget_steps=8, evaluations=8, lr_schedule=schedule)
    rates = [row["learning_rate"] for row in found.epochs[1:]]
    assert rates == pytest.approx(
        [0.05 * f for f in (1 / 4, 2 / 4, 3 / 4, 1, 1, 3 / 4, 2 / 4, 1 / 4)]
    )
    steps = [row["update_norm"] / row["grad_norm"] for row in found.epochs[1:2]]
    assert steps == pytest.approx(rates[:1], rel=1e-4)  # the first step has no momentum yet


@pytest.mark.parametrize("evaluations", [1, 2, 7, 50])
def test_rows_lie_at_the_scheduled_steps(trained: Any, evaluations: int) -> None:
    found = trained(norm="layer", epochs=2, evaluations_per_epoch=evaluations)
    wanted = [0, *Schedule(7, 14, 2 * evaluations).evaluation_steps()]
    assert [row["step"] for row in found.epochs] == wanted
    assert wanted[-1] == found.steps == 14
    assert {7, 14} <= set(wanted)
    assert [row["epoch"] for row in found.epochs] == [step / 7 for step in wanted]
    assert [row["samples"] for row in found.epochs] == [8 * step for step in wanted]


def test_means_over_training_batches_are_since_the_last_row(trained: Any) -> None:
    whole = trained(norm="layer", batch_size=10).epochs[1:]
    single = trained(norm="layer", batch_size=10, evaluations_per_epoch=6).epochs[1:]
    assert len(whole) == 1
    assert len(single) == 6
    for name in ("train_loss", "train_accuracy"):
        mean = sum(row[name] for row in single) / 6
        assert whole[0][name] == pytest.approx(mean, rel=1e-12)


def test_many_steps_between_rows_are_summed_up_in_full(
    trained: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The interval sums its losses up every 256 steps."""
    many = trained(norm="layer", batch_size=1, epochs=5, evaluations_per_epoch=1)
    one = trained(norm="layer", batch_size=1, epochs=5, evaluations_per_epoch=60)
    monkeypatch.setattr(Schedule, "evaluation_steps", lambda _: [300])
    all_at_once = trained(norm="layer", batch_size=1, epochs=5)
    for name in ("train_loss", "train_accuracy"):
        rows = [row[name] for row in one.epochs[1:]]
        assert len(rows) == 300
        assert all_at_once.epochs[-1][name] == pytest.approx(sum(rows) / 300, rel=1e-12)
        epochs = [row[name] for row in many.epochs[1:]]
        assert all_at_once.epochs[-1][name] == pytest.approx(sum(epochs) / 5, rel=1e-12)
