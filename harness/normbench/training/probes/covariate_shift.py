"""Internal covariate shift as a change of gradients (Santurkar et al. 2018)."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from normbench.training.probes.base import (
    Measurement,
    ProbeContext,
    ProbeLoss,
    State,
    WeightLayer,
    cosine,
    first_batches,
    flat,
    mean,
    moved,
    weight_layers,
)


def covariate_shift(context: ProbeContext) -> Iterator[Measurement]:
    """How much a layer's gradient changes because the layers before it are updated.

    Definition 2.1 of Santurkar et al. 2018 (arXiv:1805.11604): with all parameters θ_t, one step
    of all layers at once to θ_{t+1}, and layer i with weights W_i,

    - G_i = ∂L/∂W_i at θ_t, and G'_i = the same where every parameter before layer i is at
      θ_{t+1} and all others (its own and later ones) are at θ_t, on the same batch;
    - ``covariate-shift`` ‖G_i − G'_i‖₂, ``covariate-shift-relative`` the same over ‖G_i‖₂,
      ``covariate-shift-cosine`` the cosine between both. The first depends on the scale of the
      weights, which normalization changes; the others do not.

    For the first layer nothing has moved: 0, 0 and 1. "Before" is meant in the order of the
    model's parameters, in which the shortcut of a residual block stands behind its body; layers
    within a recurrent cell are one. Layer "" is the mean over the layers from
    the second on. The step is a plain gradient step θ_t − η·∇L(θ_t) on the probe batch, so that
    the first moment has values too; under momentum or Adam it is not the step of training.
    Values are means over the first probe batches (64 items, at least one batch). A layer whose
    gradient is zero has no relative shift and no cosine. Training mode. Cost: one evaluation
    with gradient a layer and batch, and one more.
    """
    layers = weight_layers(context.model)
    rows: dict[tuple[str, str], list[float]] = {}
    for batch in first_batches(context):
        objective = ProbeLoss(context, [batch])
        here = objective.here
        gradient = objective.gradient(here)
        after = moved(here, gradient, -context.learning_rate)
        for layer in layers:
            mixed = earlier_moved(here, after, layer)
            changed = objective.gradient(mixed, layer.weights)
            for name, value in _compare(gradient, changed, layer):
                rows.setdefault((name, layer.name), []).append(value)
    averages = {key: mean(values) for key, values in rows.items()}
    for (name, layer_name), value in averages.items():
        yield Measurement(name, layer_name, value)
    later = {layer.name for layer in layers[1:]}
    for name in dict.fromkeys(name for name, _ in averages):
        found = [v for (n, where), v in averages.items() if n == name and where in later]
        if found:
            yield Measurement(name, "", mean(found))


def earlier_moved(here: State, after: State, layer: WeightLayer) -> State:
    """The parameters of which those before ``layer`` are taken from ``after``."""
    names = list(here)
    start = min(names.index(n) for n in layer.own)
    return {n: (after if i < start else here)[n] for i, n in enumerate(names)}


def _compare(gradient: State, changed: State, layer: WeightLayer) -> Iterator[tuple[str, float]]:
    before, after = flat(gradient, layer.weights), flat(changed, layer.weights)
    shift = float(torch.linalg.vector_norm(before - after))
    size = float(torch.linalg.vector_norm(before))
    yield "covariate-shift", shift
    if size > 0:
        yield "covariate-shift-relative", shift / size
    alike = cosine(before, after)
    if alike is not None:
        yield "covariate-shift-cosine", alike
