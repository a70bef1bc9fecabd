"""A linear regression seen as the quadratic that it is: distance to the optimum, and the steps.

All three look at the probe batches together. Where the batch is the whole training split, that is
the loss which is trained on.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from normbench.stats.quadratic import Quadratic, squared_error
from normbench.training.probes.base import Measurement, ProbeContext, ProbeLoss, parameters_of

Floats = NDArray[np.float64]
#: A feature's layer in these probes is this with its number, from 1; the bias is ``bias``.
FEATURE, BIAS = "x", "bias"


def _linear(model: nn.Module) -> tuple[str, nn.Linear] | None:
    """The name and the module of the one linear layer of a model with one output, else None."""
    found = [(n, m) for n, m in model.named_modules() if isinstance(m, nn.Linear)]
    weighted = [m for m in model.modules() if any(True for _ in m.parameters(recurse=False))]
    if len(found) != 1 or len(weighted) != 1 or found[0][1].out_features != 1:
        return None
    return found[0]


def _weights(layer: nn.Linear) -> Floats:
    """Weights and bias as one vector (features + 1,)."""
    with torch.no_grad():
        values = torch.cat([layer.weight[0], layer.bias]).double().cpu().numpy()
    found: Floats = values
    return found


def _problem(context: ProbeContext) -> tuple[Quadratic, float]:
    """The loss on the probe batches, and the excess of the best constant: the labels' variance.

    Computed once a run: the batches never change.
    """
    if "problem" not in context.memory:
        x = torch.cat([inputs.flatten(1) for inputs, _ in context.batches]).double().cpu().numpy()
        y = torch.cat([labels for _, labels in context.batches]).double().cpu().numpy()
        loss = squared_error(x, y)
        context.memory["problem"] = (loss, float(y.var()) - loss.least)
    found: tuple[Quadratic, float] = context.memory["problem"]
    return found


def excess_loss(context: ProbeContext) -> Iterator[Measurement]:
    """What is left to learn: (L − L*)/(L₀ − L*), with L* the least loss of any linear model.

    For the whole model, L₀ is the loss of the best constant, so that 1 means nothing learnt and
    the measure does not depend on the start. In the layer ``start``, L₀ is the loss at this run's
    first context: with weights drawn in the inputs' own units that loss can be thousands of times
    the labels' variance, and falls by as much in one step. Computed in float64 from the distance
    to the optimum, where no digits cancel. Nothing is given for other models.
    """
    layer = _linear(context.model)
    if layer is None:
        return
    loss, explained = _problem(context)
    excess = float(loss.excess(_weights(layer[1])))
    first = context.memory.setdefault("first", excess)
    if explained > 0:
        yield Measurement("excess-loss", "", excess / explained)
    if first > 0:
        yield Measurement("excess-loss", "start", excess / first)


def linear_weights(context: ProbeContext) -> Iterator[Measurement]:
    """The weight of each feature, ``x1``, ``x2``, …, and the ``bias``; linear regressions alone."""
    layer = _linear(context.model)
    if layer is None:
        return
    *weights, bias = _weights(layer[1]).tolist()
    for number, weight in enumerate(weights, start=1):
        yield Measurement("linear-weights", f"{FEATURE}{number}", weight)
    yield Measurement("linear-weights", BIAS, bias)


def _shares(change: Tensor) -> list[float] | None:
    squares = change.double().square()
    total = float(squares.sum())
    return None if not total > 0 else (squares / total).tolist()


def update_share(context: ProbeContext) -> Iterator[Measurement]:
    """Each feature's share of a step: the square of its weight's change over the sum of all.

    The step is the last one; before the first, the one that gradient descent takes from here. The
    bias is left out. A feature that matters as much as another should move as much: with features
    in units of their own, the one with the largest numbers takes nearly all of a step.
    """
    layer = _linear(context.model)
    if layer is None:
        return
    name = f"{layer[0]}.weight"
    if context.previous is None:
        objective = ProbeLoss(context, context.batches)
        change = objective.gradient(parameters_of(context.model), [name])[name]
    else:
        change = layer[1].weight.detach() - context.previous[name]
    for number, share in enumerate(_shares(change[0]) or [], start=1):
        yield Measurement("update-share", f"{FEATURE}{number}", share)
