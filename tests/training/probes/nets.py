"""Tiny nets with every norm, and functions with closed forms, for the tests of probes."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from normbench.catalog import NORMS
from normbench.models.describe import Network, NormSpec
from normbench.models.layers import Conv, Dropout, Flatten, Linear, MaxPool, activated
from normbench.models.plain import Net, build, initialise
from normbench.training.probes.base import Moment, Value

#: Parameters other than the defaults, where the tiny nets' channels need them.
_PARAMS: dict[str, dict[str, Any]] = {"group": {"groups": 2}}
BATCH = 8


def norm_spec(name: str) -> NormSpec:
    params = {key: param.default for key, param in NORMS[name].params.items()}
    return NormSpec(name, params | _PARAMS.get(name, {}), BATCH)


def tiny(norm: str, *, dropout: float = 0.25) -> Net:
    """Two convolutions of four channels on 4×4 images, dropout and a classifier, in float64."""
    layers = (
        *activated(Conv("conv1", 4, kernel=3, padding=1)),
        MaxPool(2, 2),
        *activated(Conv("conv2", 4, kernel=3, padding=1)),
        Flatten(),
        *([Dropout("dropout", dropout)] if dropout else []),
        Linear("classifier", 3),
    )
    sites = frozenset(("conv1", "conv2"))
    model = build(Network(layers, (1, 4, 4), BATCH, norm_spec(norm), sites, "pre"))
    initialise(model, 3, "he")
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():  # off the start, where scales and shifts are not all alike
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.add_(noise.to(parameter), alpha=0.1)
    return model.double()


def batches(count: int = 3, size: int = BATCH) -> tuple[tuple[Tensor, Tensor], ...]:
    generator = torch.Generator().manual_seed(5)
    return tuple(
        (
            torch.randn((size, 1, 4, 4), generator=generator, dtype=torch.float64) + 0.5,
            torch.randint(3, (size,), generator=generator),
        )
        for _ in range(count)
    )


def moment_of(model: nn.Module, **settings: Any) -> Moment:
    given: dict[str, Any] = {
        "loss": functional.cross_entropy,
        "batches": batches(),
        "learning_rate": 0.1,
        "momentum": 0.9,
        "weight_decay": 0.0,
        "previous": None,
        "memory": {},
    }
    return Moment(model=model, **(given | settings))


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


def plain_loss(moment: Moment, model: nn.Module, number: int | None = None) -> Tensor:
    """The loss of ``model`` on all probe batches or on one, in the plainest way."""
    chosen = moment.batches if number is None else moment.batches[number : number + 1]
    return torch.stack([moment.loss(model(x), y) for x, y in chosen]).mean()


def plain_gradients(
    moment: Moment, model: nn.Module, number: int | None = None
) -> dict[str, Tensor]:
    """The gradients that ``loss.backward()`` leaves in a copy of the model."""
    model = twin(model)
    plain_loss(moment, model, number).backward()
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


def quadratic(matrix: Tensor, w: Tensor, **settings: Any) -> Moment:
    """A moment whose loss is ½·wᵀAw."""

    def loss(outputs: Tensor, labels: Tensor) -> Tensor:
        del labels
        return 0.5 * outputs @ matrix @ outputs

    return moment_of(Quadratic(w.clone()), loss=loss, batches=batches(1), **settings)


def read(probe: Callable[[Moment], Any], moment: Moment) -> dict[tuple[str, str], float]:
    """A probe's values by quantity and layer; no pair may come twice."""
    values: list[Value] = list(probe(moment))
    found = {(v.probe, v.layer): v.value for v in values}
    assert len(found) == len(values)
    return found
