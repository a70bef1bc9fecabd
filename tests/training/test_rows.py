"""What training batches gave, summed up between evaluations."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from normbench.training.objective import Objective
from normbench.training.rows import Interval

MEMBERS, BATCH, CLASSES = 3, 4, 5


def steps(count: int, seed: int) -> list[tuple[Tensor, Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    return [
        (
            torch.rand(MEMBERS, generator=generator),
            torch.randn(MEMBERS, BATCH, CLASSES, generator=generator),
            torch.randint(CLASSES, (MEMBERS, BATCH), generator=generator),
        )
        for _ in range(count)
    ]


def assert_columns(interval: Interval, given: list[tuple[Tensor, Tensor, Tensor]]) -> None:
    for member in range(MEMBERS):
        found = interval.columns(member)
        losses = [float(loss[member]) for loss, _, _ in given]
        hits = [logits[member].argmax(1) == labels[member] for _, logits, labels in given]
        assert found["train_loss"] == pytest.approx(sum(losses) / len(losses), rel=1e-12)
        assert found["train_accuracy"] == float(torch.cat(hits).double().mean())


@pytest.mark.parametrize(("kept", "logits"), [(256, 1 << 22), (3, 1 << 22), (256, 150), (256, 1)])
def test_sums_do_not_depend_on_how_many_steps_are_kept(
    kept: int, logits: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("normbench.training.rows._KEPT_STEPS", kept)
    monkeypatch.setattr("normbench.training.rows._KEPT_LOGITS", logits)
    interval = Interval(MEMBERS, BATCH)
    for seed, count in enumerate((8, 1, 5)):
        given = steps(count, seed)
        for one in given:
            copies = [tensor.clone() for tensor in one]
            interval.add(*copies)
            for tensor in copies:
                tensor.zero_()  # what was given may be used again
        interval.grad_norms = [1.0] * MEMBERS
        assert_columns(interval, given)
        assert interval.columns(0)["grad_norm"] == 1.0
        interval.restart()
        assert math.isnan(interval.grad_norms[0])


def test_a_regressions_hits_are_within_its_tolerance() -> None:
    interval = Interval(2, 3, Objective("regression", 0.5))
    outputs = torch.tensor([[[0.0], [1.0], [math.nan]], [[2.0], [2.4], [3.0]]])
    interval.add(torch.tensor([1.0, 2.0]), outputs, torch.tensor([[0.1, 3.0, 1.0], [2.0] * 3]))
    assert [interval.columns(i)["train_accuracy"] for i in range(2)] == [1 / 3, 2 / 3]
