"""Noise between batches: of the gradient, and of the statistics that batch norm takes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from normbench.training.probes.base import (
    Measurement,
    ProbeContext,
    ProbeLoss,
    flat,
    mean,
    plain_name,
    weight_layers,
)
from normbench.training.probes.recording import by_channel


def gradient_noise(context: ProbeContext) -> Iterator[Measurement]:
    """How much gradients and batch statistics differ from one probe batch to the next.

    With the gradients g_b of B batches and their mean ḡ:

    - ``gradient-noise``: tr Cov(g)/‖ḡ‖² = Σ_b ‖g_b − ḡ‖²/(B − 1)/‖ḡ‖², for each layer's weights
      and (layer "") for all parameters: the noise-to-signal ratio of a training step at this
      batch size (cf. McCandlish et al. 2018, arXiv:1812.06162). ‖ḡ‖² holds tr Cov(g)/B of noise
      itself, so that the ratio tends to B, not to infinity, where there is no signal;
    - ``statistics-noise``, for each norm that takes statistics over the batch: the standard
      deviation over batches of a channel's batch mean, over the channel's own deviation, mean
      over channels; layer "" is the mean over norms. At batch size n without positions it is
      about 1/√n. Ghost batches count one by one; channels that are constant are left out, and so
      are norms that are frozen by now and those within recurrent cells.

    Dropout masks are the same in all batches, so that theirs is not in the noise. Needs two
    batches; gives nothing otherwise. Training mode. Cost: one evaluation with gradient a batch.
    """
    if len(context.batches) < 2:
        return
    gradients = []
    statistics: dict[str, list[tuple[Tensor, Tensor]]] = {}
    with _watching_norms(context.model, statistics):
        for batch in context.batches:
            objective = ProbeLoss(context, [batch])
            gradients.append(objective.gradient(objective.here))
    ratio = noise_ratio([flat(g) for g in gradients])
    if ratio is not None:
        yield Measurement("gradient-noise", "", ratio)
    for layer in weight_layers(context.model):
        ratio = noise_ratio([flat(g, layer.weights) for g in gradients])
        if ratio is not None:
            yield Measurement("gradient-noise", layer.name, ratio)
    found = {name: _statistics_noise(rows) for name, rows in statistics.items()}
    noises = {name: value for name, value in found.items() if value is not None}
    for name, noise in noises.items():
        yield Measurement("statistics-noise", name, noise)
    if noises:
        yield Measurement("statistics-noise", "", mean(noises.values()))


def noise_ratio(vectors: list[Tensor]) -> float | None:
    """tr Cov/‖mean‖² of at least two vectors, with the unbiased covariance; None at mean zero."""
    stacked = torch.stack(vectors)
    centre = stacked.mean(0)
    signal = float(centre.square().sum())
    if signal == 0.0:
        return None
    return float((stacked - centre).square().sum()) / (len(vectors) - 1) / signal


@contextmanager
def _watching_norms(
    model: nn.Module, found: dict[str, list[tuple[Tensor, Tensor]]]
) -> Iterator[None]:
    """Collect mean and biased variance (C,) of each batch of which a norm takes statistics."""

    def hook(name: str, ghost: int) -> Any:
        def enters(_: nn.Module, inputs: tuple[Any, ...]) -> None:
            x = inputs[0].detach()
            for part in x.split(ghost if ghost else len(x)):
                wide = by_channel(part).double()
                row = (wide.mean(0), wide.var(0, correction=0))
                found.setdefault(name, []).append(row)

        return enters

    handles = [
        module.register_forward_pre_hook(hook(plain_name(name), getattr(module, "ghost", 0)))
        for name, module in model.named_modules()
        if isinstance(getattr(module, "running_mean", None), Tensor)
        and not getattr(module, "frozen", False)
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _statistics_noise(rows: list[tuple[Tensor, Tensor]]) -> float | None:
    """Mean over channels of the deviation of batch means over the channel's deviation."""
    means = torch.stack([m for m, _ in rows])
    variances = torch.stack([v for _, v in rows])
    whole = variances.mean(0) + means.var(0, correction=0)
    varied = whole > 0
    if len(rows) < 2 or not bool(varied.any()):
        return None
    noise = means.var(0, correction=1)[varied] / whole[varied]
    return float(noise.sqrt().mean())
