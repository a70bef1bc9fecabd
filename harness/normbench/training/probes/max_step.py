"""How long a step along the gradient may be before the loss is above where it started."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

from normbench.training.probes.base import Measurement, ProbeContext, ProbeLoss, flat, moved

#: Doublings or halvings before the search gives up, and halvings of the bracket in the exponent.
DOUBLINGS, BISECTIONS = 20, 6


def longest_step(descends: Callable[[float], bool], start: float) -> float:
    """The step at which ``descends`` turns from true to false, to about one percent.

    ``descends(α)`` says whether a step of α goes down. From ``start`` > 0 the step is doubled
    while it does, or halved while it does not, and the bracket is then bisected on a logarithmic
    scale: the result goes down and one 1.1 % longer does not. It is the first crossing found in
    this way; a loss that falls again further out is not followed. At most 20 doublings: where
    each of them goes down the answer is 2²⁰·start, a bound from below, and 0 where no halving
    does.
    """
    if descends(start):
        low, high = start, start
        for _ in range(DOUBLINGS):
            high = 2 * low
            if not descends(high):
                break
            low = high
        else:
            return low
    else:
        low, high = start, start
        for _ in range(DOUBLINGS):
            low = high / 2
            if descends(low):
                break
            high = low
        else:
            return 0.0
    for _ in range(BISECTIONS):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if descends(middle) else (low, middle)
    return low


def max_step(context: ProbeContext) -> Iterator[Measurement]:
    """The longest step α along the gradient g = ∇L(θ) with L(θ − αg) < L(θ).

    ``max-step`` α, and ``max-step-ratio`` α/η, in learning rates (after Bjorck et al. 2018,
    arXiv:1806.02375, who show that batch norm allows longer steps). L is the mean loss over the
    first probe batches (64 items, at least one batch) in training mode. Found from η by doubling
    and bisection, as :func:`longest_step` does: to 1.1 %, at most 2²⁰·η, which stands for a loss
    that stays lower however long the step, as the loss of a net that ignores the scale of its
    weights may. No value where the gradient is zero or the rate is. Cost: one evaluation with
    gradient and 8 to 26 without.
    """
    objective = ProbeLoss(context)
    here = objective.here
    loss, gradient = objective.value_and_gradient(here)
    rate = context.learning_rate
    if rate <= 0 or not bool(flat(gradient).any()):
        return

    def descends(step: float) -> bool:
        return objective.value(moved(here, gradient, -step)) < loss

    longest = longest_step(descends, rate)
    yield Measurement("max-step", "", longest)
    yield Measurement("max-step-ratio", "", longest / rate)
