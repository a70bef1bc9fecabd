"""The guard against asymmetric differences, which the flip test cannot see.

Equal means with different shapes is a weaker null than symmetry. Where the differences
are visibly skewed, a bootstrap-t interval must agree before anything is claimed.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from normbench.stats.checks import FloatArray, check_alpha, check_count, fault, vector
from normbench.stats.result import Interval
from normbench.stats.rounding import constant

SKEWNESS_LIMIT = 1.0
GUARD_SEEDS = 10
FRAGILE_BELOW = 20
"""Fewer seeds than this with any divergence make a claim about the mean fragile."""

RESAMPLES = 9_999
RESAMPLE_SEED = 6_007
"""Fixed, so that the same data always give the same interval."""


@dataclass(frozen=True)
class Guard:
    """What the guard found: the skewness, and the second interval where it is needed."""

    skewness: float
    interval: Interval | None

    @property
    def active(self) -> bool:
        """Tell whether the differences are skewed enough for a second interval."""
        return self.interval is not None

    def agrees(self, null: float) -> bool:
        """Tell whether the guard lets a rejection of ``null`` stand."""
        return self.interval is None or not self.interval[0] <= null <= self.interval[1]

    def hull(self, interval: Interval) -> Interval:
        """Return the smallest interval that holds ``interval`` and the second one."""
        if self.interval is None:
            return interval
        return min(interval[0], self.interval[0]), max(interval[1], self.interval[1])


def asymmetry_guard(d: ArrayLike, alpha: float = 0.05) -> Guard:
    """Return the skewness of ``d``, shape (n,), and a bootstrap-t interval if it exceeds 1.

    Below 10 seeds skewness cannot be judged and the guard stays inactive.

    Args:
        d: differences.
        alpha: 1 − level of the interval; in a family of m claims alpha/m.

    Raises:
        StatisticsError: not a finite vector, or alpha outside (0, 1).
    """
    values = vector(d, "d")
    skew = skewness(values)
    if values.size < GUARD_SEEDS or abs(skew) <= SKEWNESS_LIMIT:
        return Guard(skew, None)
    return Guard(skew, bootstrap_t_interval(values, alpha))


def skewness(d: ArrayLike) -> float:
    """Return the moment ratio m₃ / m₂^1.5 (dividing by n); 0 for constant values.

    Raises:
        StatisticsError: not a finite vector.
    """
    values = vector(d, "d")
    centred = values - values.mean()
    if constant(values):
        return 0.0
    largest = float(np.abs(centred).max())
    centred = centred / largest
    return float((centred**3).mean() / (centred**2).mean() ** 1.5)


def bootstrap_t_interval(
    d: ArrayLike, alpha: float = 0.05, *, resamples: int = RESAMPLES, seed: int = RESAMPLE_SEED
) -> Interval:
    """Return the bootstrap-t interval for the mean of ``d``, shape (n,), n ≥ 2.

    Each resample of the seeds gives t* = (mean* − mean)/se*; the ends are the mean minus
    the upper and lower quantile of t*, times the standard error. A resample without
    spread has t* = ±∞ by the sign of its deviation (0 if there is none), so an end may be
    infinite. The mean is assumed to exist; neither symmetry nor normality is.

    Args:
        d: differences.
        alpha: 1 − level.
        resamples: number of resamples, drawn with the fixed ``seed``.
        seed: seed of the resampling.

    Raises:
        StatisticsError: fewer than two values, not finite, or alpha outside (0, 1).

    Source: Efron and Tibshirani (1993), chapter 12.
    """
    values = vector(d, "d")
    n = values.size
    if n < 2:
        raise fault("a bootstrap-t interval needs at least two seeds", n, "run more seeds")
    mean, error = float(values.mean()), float(values.std(ddof=1)) / n**0.5
    picks = _picks(n, check_count(resamples, "resamples"), seed)
    ordered = np.sort(_studentised(values - mean, picks))
    # Order statistics of resamples + 1 equally likely places; rounded outwards.
    k = int(check_alpha(alpha) / 2.0 * (resamples + 1) + 1e-9)
    if k == 0:
        return -np.inf, np.inf
    if constant(values):
        return mean, mean
    return mean - error * float(ordered[resamples - k]), mean - error * float(ordered[k - 1])


def _studentised(centred: FloatArray, picks: NDArray[np.intp]) -> FloatArray:
    drawn = centred[picks]
    means = drawn.mean(axis=1)
    drawn -= means[:, None]
    squares = np.einsum("ij,ij->i", drawn, drawn)
    n = centred.size
    rounding = (1e-12 * float(np.abs(centred).max())) ** 2 * n
    flat = squares <= rounding
    errors = np.sqrt(np.where(flat, 1.0, squares) / (n - 1) / n)
    still = np.abs(means) <= rounding**0.5
    return np.where(flat, np.where(still, 0.0, np.copysign(np.inf, means)), means / errors)


@lru_cache(maxsize=4)
def _picks(n: int, resamples: int, seed: int) -> NDArray[np.intp]:
    picks = np.random.default_rng(seed).integers(0, n, size=(resamples, n))
    picks.setflags(write=False)
    return picks
