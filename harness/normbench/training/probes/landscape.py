"""The loss along the gradient: how far the picture that the gradient paints holds."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from normbench.training.probes.base import Measurement, ProbeContext, ProbeLoss, cosine, flat, moved
from normbench.training.probes.base import first_batches as first

#: How far along the gradient the loss is looked at, in multiples of the learning rate.
FACTORS = (0.5, 1.0, 2.0, 4.0)


def landscape(context: ProbeContext) -> Iterator[Measurement]:
    """Variation of loss and gradient on the way from θ to θ − a·η·g, with g = ∇L(θ).

    After Santurkar et al. 2018 (arXiv:1805.11604, Fig. 4): one batch at a time, as a training
    step sees it, with a in ½, 1, 2 and 4 times the learning rate η:

    - ``loss-variation`` (4a): max L − min L over a;
    - ``gradient-predictiveness`` (4b): max over a of ‖∇L(θ − aηg) − g‖₂. Smaller is more
      predictive. ``gradient-predictiveness-range``: max − min over a, the width of their band;
    - ``gradient-predictiveness-cosine``: the smallest cosine between both gradients over a, which
      the scale of the weights does not enter;
    - ``effective-smoothness`` (4c): max over a of ‖∇L(θ − aηg) − g‖/‖aηg‖, a bound from below on
      the Lipschitz constant β of the gradient on this way;
    - ``rate-smoothness``: η times that, without units.

    The steps are plain gradient steps by the probe's own gradient, whatever the optimizer: with
    momentum or Adam they are not the steps of training. Values are means over the first probe
    batches (64 items, at least one batch). Training mode, whole model. Cost: five evaluations
    with gradient a batch.
    """
    rows: dict[str, list[float]] = {}
    for batch in first(context):
        for name, value in _along(ProbeLoss(context, [batch]), context.learning_rate).items():
            rows.setdefault(name, []).append(value)
    for name, values in rows.items():
        yield Measurement(name, "", sum(values) / len(values))


def _along(objective: ProbeLoss, rate: float) -> dict[str, float]:
    """All quantities on one batch."""
    here = objective.here
    direction = objective.gradient(here)
    g = flat(direction)
    length = float(torch.linalg.vector_norm(g))
    losses, changes, cosines, slopes = [], [], [], []
    for factor in FACTORS:
        step = factor * rate
        loss, gradient = objective.value_and_gradient(moved(here, direction, -step))
        there = flat(gradient)
        change = float(torch.linalg.vector_norm(there - g))
        losses.append(loss)
        changes.append(change)
        alike = cosine(there, g)
        if alike is not None:
            cosines.append(alike)
        if step * length > 0:
            slopes.append(change / (step * length))
    found = {
        "loss-variation": _largest(losses) + _largest([-x for x in losses]),
        "gradient-predictiveness": _largest(changes),
        "gradient-predictiveness-range": _largest(changes) + _largest([-x for x in changes]),
    }
    if cosines:
        found["gradient-predictiveness-cosine"] = -_largest([-x for x in cosines])
    if slopes:
        found["effective-smoothness"] = _largest(slopes)
        found["rate-smoothness"] = rate * found["effective-smoothness"]
    return found


def _largest(values: list[float]) -> float:
    """The maximum, NaN if there is one among the values."""
    return float(torch.tensor(values, dtype=torch.float64).max())
