"""Tiny nets with every norm, and functions with closed forms, for the tests of probes."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from normbench.catalog import NORMS
from normbench.conformance.probes import context_of as conformance_moment
from normbench.conformance.probes import tiny_batches, tiny_net
from normbench.training.probes.base import Batch, Measurement, ProbeContext

tiny = tiny_net


def some_norms(*fast: str) -> list[Any]:
    """All norms of the catalogue as parameters of a test, all but these in the slow suite."""
    return [
        name if name in fast else pytest.param(name, marks=pytest.mark.slow)
        for name in NORMS.complete
    ]


def batches(count: int = 3, size: int = 8) -> tuple[Batch, ...]:
    return tiny_batches(count, size)


def context_of(model: nn.Module, **settings: Any) -> ProbeContext:
    return conformance_moment(model, **({"batches": batches()} | settings))


def twin(model: nn.Module) -> nn.Module:
    """A copy whose dropout draws the same masks as the model's would."""
    made = copy.deepcopy(model)
    for name, module in model.named_modules():
        held = getattr(module, "generator", None)
        if isinstance(held, torch.Generator):
            fresh = torch.Generator()
            fresh.set_state(held.get_state())
            made.get_submodule(name).generator = fresh  # type: ignore[assignment]
    return made


def plain_loss(context: ProbeContext, model: nn.Module, number: int | None = None) -> Tensor:
    """The loss of ``model`` on all probe batches or on one, in the plainest way."""
    chosen = context.batches if number is None else context.batches[number : number + 1]
    return torch.stack([context.loss(model(x), y) for x, y in chosen]).mean()


def plain_gradients(
    context: ProbeContext, model: nn.Module, number: int | None = None
) -> dict[str, Tensor]:
    """The gradients that ``loss.backward()`` leaves in a copy of the model."""
    model = twin(model)
    plain_loss(context, model, number).backward()
    return {
        n: torch.zeros_like(p) if p.grad is None else p.grad for n, p in model.named_parameters()
    }


class Quadratic(nn.Module):
    """A model whose output is its parameter w (n,), whatever the input."""

    def __init__(self, w: Tensor) -> None:
        super().__init__()
        self.w = nn.Parameter(w)

    def forward(self, x: Tensor) -> Tensor:
        del x
        return self.w


def quadratic(matrix: Tensor, w: Tensor, **settings: Any) -> ProbeContext:
    """A moment whose loss is ½·wᵀAw."""

    def loss(outputs: Tensor, labels: Tensor) -> Tensor:
        del labels
        return 0.5 * outputs @ matrix @ outputs

    return context_of(Quadratic(w.clone()), loss=loss, batches=batches(1), **settings)


def read(
    probe: Callable[[ProbeContext], Any], context: ProbeContext
) -> dict[tuple[str, str], float]:
    """A probe's values by quantity and layer; no pair may come twice."""
    values: list[Measurement] = list(probe(context))
    found = {(v.probe, v.layer): v.value for v in values}
    assert len(found) == len(values)
    return found
