"""Imported values without common seeds: Welch's t by permutation of the labels."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from math import comb

import numpy as np
from numpy.typing import ArrayLike

from normbench.stats.checks import (
    BoolArray,
    FloatArray,
    Goal,
    check_alpha,
    check_goal,
    reaches,
    vector,
)
from normbench.stats.flip import DRAWS, SIGN_SEED
from normbench.stats.result import Interval, Result
from normbench.stats.rounding import constant, difference

LEAST_PER_GROUP = 4
_LISTED = 200_000
_SLACK = 1e-9


def welch_permutation(a: ArrayLike, b: ArrayLike, *, goal: Goal, alpha: float = 0.05) -> Result:
    """Compare two groups of runs that share no seeds; positive means A is better.

    The null is that both groups come from one distribution (exact), and approximately that
    their means are equal; two-sided. The statistic is |t| of Welch over all relabellings,
    or 99,999 drawn ones and the identity above 200,000. The interval holds the shifts that
    the test keeps. No pairing is claimed and no value may be censored.

    Args:
        a, b: values of the two groups, shapes (n_a,) and (n_b,), at least 4 each.
        goal: ``"min"`` or ``"max"``.
        alpha: 1 − level.

    Raises:
        StatisticsError: not finite vectors, unknown goal, alpha outside (0, 1).

    Source: Janssen (1997), Statistics & Probability Letters 36:9.
    """
    sign = check_goal(goal)
    first, second = -sign * vector(a, "a"), -sign * vector(b, "b")
    alpha = check_alpha(alpha)
    n_a, n_b = first.size, second.size
    refusal = None
    if min(n_a, n_b) < LEAST_PER_GROUP:
        refusal = f"{n_a} and {n_b} runs, at least {LEAST_PER_GROUP} per group are needed"
    relabellings = _relabellings(n_a, n_b) if refusal is None else None
    p, interval = None, None
    if relabellings is not None:
        test = _Welch.of(first, second, relabellings)
        p, interval = test.p(0.0), test.interval(alpha)
    return Result(
        name="Welch's t by permutation (unpaired)",
        estimand="difference of the group means (positive: A is better)",
        estimate=float(difference(first.mean(), second.mean())),
        interval=interval,
        level=None if interval is None else 1.0 - alpha,
        p=p,
        n=n_a + n_b,
        values=tuple((-sign * np.concatenate([first, second])).tolist()),
        assumptions=(
            "independent runs; no pairing is claimed",
            "both groups come from one distribution up to the shift",
        ),
        refusal=refusal,
        details={"n_a": n_a, "n_b": n_b},
    )


@dataclass(frozen=True)
class _Welch:
    """Sums over each relabelling of values x = x₀ − μ·g, g marking the members of A."""

    x: FloatArray
    g: FloatArray
    labels: BoolArray
    centre: float
    scale: float

    @classmethod
    def of(cls, a: FloatArray, b: FloatArray, labels: BoolArray) -> _Welch:
        g = np.concatenate([np.ones(a.size), np.zeros(b.size)])
        x = np.concatenate([a, b])
        scale = float(np.abs(x if constant(x) else x - x.mean()).max()) or 1.0
        return cls(x, g, labels, float(difference(a.mean(), b.mean())), scale)

    def p(self, mu: float) -> float:
        x = self.x - mu * self.g
        x = (x - x.mean()) / self.scale
        marks = self.labels.astype(np.float64)
        in_a = marks.sum(axis=1)
        in_b = x.size - in_a
        sum_a, square_a = marks @ x, marks @ x**2
        sum_b, square_b = x.sum() - sum_a, (x**2).sum() - square_a
        spread = (square_a - sum_a**2 / in_a) / (in_a - 1) / in_a
        spread = spread + (square_b - sum_b**2 / in_b) / (in_b - 1) / in_b
        gap = np.abs(sum_a / in_a - sum_b / in_b)
        flat = spread <= 1e-20
        t = np.where(flat, np.where(gap > _SLACK, np.inf, 0.0), gap / np.sqrt(spread + flat))
        # The identity stands first.
        return float((t >= t[0] * (1.0 - _SLACK)).mean())

    def interval(self, alpha: float) -> Interval:
        return self._end(-1.0, alpha), self._end(1.0, alpha)

    def _end(self, side: float, alpha: float) -> float:
        inner, step = 0.0, self.scale
        for _ in range(60):
            if reaches(self.p(self.centre + side * (inner + step)), alpha):
                break
            inner, step = inner + step, 2.0 * step
        else:
            return side * np.inf
        outer = inner + step
        while outer - inner > 1e-7 * self.scale:
            middle = (inner + outer) / 2.0
            if reaches(self.p(self.centre + side * middle), alpha):
                outer = middle
            else:
                inner = middle
        return self.centre + side * inner


def _relabellings(n_a: int, n_b: int) -> BoolArray:
    """Return which places belong to A in each relabelling, the identity first."""
    n = n_a + n_b
    identity = np.arange(n) < n_a
    if comb(n, n_a) <= _LISTED:
        chosen = np.array(list(combinations(range(n), n_a)))
        labels = np.zeros((len(chosen), n), dtype=np.bool_)
        np.put_along_axis(labels, chosen, True, axis=1)
        return labels
    rng = np.random.default_rng(SIGN_SEED)
    order = np.argsort(rng.random((DRAWS, n)), axis=1)
    return np.concatenate([identity[None, :], order < n_a])
