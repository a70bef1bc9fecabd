"""Learning-rate schedules: the factor on the learning rate at each step of a run.

Times are fractions of the run, so that runs of other budgets and batch sizes follow the same curve.
"""

from __future__ import annotations

import math


def _after_warm_up(step: int, steps: int, warmup: float) -> tuple[float, float]:
    """The factor of the warm-up, and how far the run is after it, from 0 to below 1.

    The factor grows linearly from 1/k to 1 over the first k = round(warmup·steps) steps (Goyal et
    al. 2017, arXiv:1706.02677).
    """
    rising = round(warmup * steps)
    if step < rising:
        return (step + 1) / rising, 0.0
    return 1.0, (step - rising) / max(1, steps - rising)


def constant(step: int, steps: int, *, warmup: float) -> float:
    """1 after the warm-up; ``step`` counts from 0 to ``steps`` − 1."""
    factor, _ = _after_warm_up(step, steps, warmup)
    return factor


def cosine(step: int, steps: int, *, warmup: float, final: float) -> float:
    """Half a cosine from 1 down to ``final`` (Loshchilov & Hutter 2017, arXiv:1608.03983)."""
    factor, done = _after_warm_up(step, steps, warmup)
    return factor * (final + (1 - final) * (1 + math.cos(math.pi * done)) / 2)


def linear(step: int, steps: int, *, warmup: float, final: float) -> float:
    """A straight line from 1 down to ``final``."""
    factor, done = _after_warm_up(step, steps, warmup)
    return factor * (1 - (1 - final) * done)


def stepwise(step: int, steps: int, *, warmup: float, drops: int, factor: float) -> float:
    """Multiplied by ``factor`` at ``drops`` times, which cut the run into equal parts."""
    rising, done = _after_warm_up(step, steps, warmup)
    return rising * factor ** math.floor(done * (drops + 1) + 1e-9)
