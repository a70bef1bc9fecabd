"""Weights and their updates: sizes, angles and the learning rate that a norm makes of them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import cast

import torch
from torch import Tensor

from normbench.training.probes.base import (
    Measurement,
    ProbeContext,
    WeightLayer,
    flat,
    parameters_of,
    weight_layers,
)


def weights(context: ProbeContext) -> Iterator[Measurement]:
    """Norms of weights and updates, for each layer and (layer "") over all layers together.

    With w a layer's weights as they are stored (for weight norm the direction v), w' those
    before the last training step, and u the weights that the layer multiplies with (for weight
    norm g·v/‖v‖; else u = w); biases and the norms' own parameters are left out:

    - ``weight-norm`` ‖w‖₂, ``used-weight-norm`` ‖u‖₂;
    - ``weight-growth`` ‖u‖/‖u₀‖, with u₀ at the first moment of the run;
    - ``largest-weight`` max |u|, whole model only;
    - ``update-norm`` ‖w − w'‖, ``relative-update`` ‖w − w'‖/‖w'‖;
    - ``angular-update`` ∠(w', w) in radians. Under SGD with weight decay λ, the weights before a
      norm settle at about √(2ηλ/(1 + μ)) (Kosson et al. 2023, arXiv:2305.17212);
    - ``effective-rate`` η/‖w‖², for each layer: where a norm makes the loss independent of the
      scale of w, this is the rate at which the direction w/‖w‖ moves (van Laarhoven 2017,
      arXiv:1706.05350). The momentum's factor 1/(1 − μ) is not in it.

    The updates are those of training, whatever the optimizer, and are missing at the first
    context. No evaluation of the model, so that no mode enters; a few passes over the weights.
    """
    layers = weight_layers(context.model)
    here = parameters_of(context.model)
    used = {layer.name: used_weights(layer) for layer in layers}
    yield from _sizes(context, layers, used)
    if used:
        yield Measurement("largest-weight", "", max(float(u.abs().max()) for u in used.values()))
    for name, chosen in _groups(layers):
        now = flat(here, chosen)
        if name and (square := float(now.dot(now))) > 0:
            yield Measurement("effective-rate", name, context.learning_rate / square)
        if context.previous is None:
            continue
        before = flat(context.previous, chosen)
        change, size = _norm(now - before), _norm(before)
        yield Measurement("update-norm", name, change)
        if size > 0:
            yield Measurement("relative-update", name, change / size)
        turned = angle(before, now)
        if turned is not None:
            yield Measurement("angular-update", name, turned)


def _groups(layers: list[WeightLayer]) -> Iterator[tuple[str, list[str]]]:
    """The names of the weights of each layer, and of all of them under the name ""."""
    if layers:
        yield "", [n for layer in layers for n in layer.weights]
    for layer in layers:
        yield layer.name, list(layer.weights)


def _sizes(
    context: ProbeContext, layers: list[WeightLayer], used: dict[str, Tensor]
) -> Iterator[Measurement]:
    here = parameters_of(context.model)
    first: dict[str, float] = context.memory.setdefault("first", {})
    everywhere = torch.cat(list(used.values())) if used else torch.zeros(0)
    for name, chosen in _groups(layers):
        yield Measurement("weight-norm", name, _norm(flat(here, chosen)))
        size = _norm(used[name] if name else everywhere)
        yield Measurement("used-weight-norm", name, size)
        start = first.setdefault(name, size)
        if start > 0:
            yield Measurement("weight-growth", name, size / start)


@torch.no_grad()
def used_weights(layer: WeightLayer) -> Tensor:
    """The weights that a layer multiplies with, flat: those it computes from stored ones, if so."""
    stored = dict(layer.module.named_parameters(recurse=False))
    made = getattr(layer.module, "weight", None)
    if isinstance(made, Tensor) and "weight" not in stored:
        return made.detach().flatten().double()
    return flat({n: cast(Tensor, p) for n, p in stored.items() if p.dim() >= 2})


def angle(a: Tensor, b: Tensor) -> float | None:
    """The angle between two vectors in radians, exact for small ones; None if one is zero.

    The arc cosine would lose half of the digits; this is Kahan's 2·atan2(‖â − b̂‖, ‖â + b̂‖).
    """
    la, lb = _norm(a), _norm(b)
    if la == 0 or lb == 0:
        return None
    a, b = a / la, b / lb
    return 2 * math.atan2(_norm(a - b), _norm(a + b))


def _norm(vector: Tensor) -> float:
    return float(torch.linalg.vector_norm(vector))
