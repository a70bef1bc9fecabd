"""The confidence interval that the sign-flip test inverts to.

Subtracting μ and flipping the subset J changes the sum by −2·Σ_J(dᵢ − μ), so the one-sided
p at μ counts the subsets whose mean is at most μ: the ends of the interval are order
statistics of the 2ⁿ − 1 subset means. They are found without listing them all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike

from normbench.stats.checks import (
    FloatArray,
    check_alpha,
    fault,
    reaches,
    same_shape,
    vector,
)
from normbench.stats.flip import EXACT_LIMIT, joint_signs, sign_flip_p
from normbench.stats.result import Interval
from normbench.stats.rounding import difference

LISTING_LIMIT = 16
"""Up to here all subset means are listed; above, the wanted one is searched for."""

_CANDIDATES = 2_000
_ROUNDING = 1e-13


def subset_mean_interval(
    d: ArrayLike, alpha: float = 0.05, *, null: float | Sequence[float] = 0.0
) -> Interval | None:
    """Return the interval of all μ that the two-sided sign-flip test of d − μ keeps at alpha.

    It covers the centre of symmetry of the differences with probability at least
    1 − alpha, exactly, if they are symmetric about it; the seeds are independent and no
    value is censored. The ends are the k-th smallest and k-th largest subset mean,
    k = ⌊alpha·2ⁿ/2⌋; above 40 seeds those of the drawn subsets of ``sign_flip_p``.

    Args:
        d: differences, shape (n,).
        alpha: 1 − level.
        null: the value, or values, at which test and interval are reconciled: rounding
            alone could otherwise put an end that equals one just beside it.

    Returns:
        (low, high) in the unit of ``d``, or None where k = 0 (below 6 seeds at 5 %).

    Raises:
        StatisticsError: not a finite vector, or alpha outside (0, 1).

    Source: Hartigan (1969); Pagano and Tritchler (1983).
    """
    values = vector(d, "d")
    return _inverted(values, np.ones(values.size), check_alpha(alpha), null)


def subset_ratio_interval(
    a: ArrayLike, b: ArrayLike, alpha: float = 0.05, *, null: float | Sequence[float] = 1.0
) -> Interval | None:
    """Return the interval of all ρ that the two-sided sign-flip test of a − ρ·b keeps at alpha.

    Its ends are order statistics of the subset ratios Σ_J a / Σ_J b, as those of
    ``subset_mean_interval`` are of the subset means; it covers the ratio of the means
    exactly if a − ρ·b is symmetric at the true ρ.

    Args:
        a: numerators, shape (n,).
        b: denominators, shape (n,), all above 0.
        alpha: 1 − level.
        null: the ratio, or ratios, at which test and interval are reconciled.

    Raises:
        StatisticsError: shapes differ, values not finite, a denominator not above 0.
    """
    numerator, denominator = vector(a, "a"), vector(b, "b")
    same_shape(numerator, denominator, "a and b")
    if (denominator <= 0).any():
        raise fault("denominators must be above 0", float(denominator.min()), "check the values")
    return _inverted(numerator, denominator, check_alpha(alpha), null)


def t_interval(d: ArrayLike, alpha: float = 0.05) -> Interval:
    """Return Student's interval for the mean; it assumes normal differences.

    Given only on request and labelled so: with failures of one configuration only it
    covers far less than it says.

    Args:
        d: differences, shape (n,), n ≥ 2.
        alpha: 1 − level.

    Raises:
        StatisticsError: fewer than two values, not finite, or alpha outside (0, 1).
    """
    from scipy.special import stdtrit

    values = vector(d, "d")
    if values.size < 2:
        raise fault("a t interval needs at least two seeds", values.size, "run more seeds")
    half = float(stdtrit(values.size - 1, 1.0 - check_alpha(alpha) / 2.0))
    half *= float(values.std(ddof=1)) / values.size**0.5
    mean = float(values.mean())
    return mean - half, mean + half


def _inverted(
    a: FloatArray, b: FloatArray, alpha: float, null: float | Sequence[float]
) -> Interval | None:
    n = a.size
    if n > EXACT_LIMIT:
        ends = _drawn_ends(a, b, alpha)
    else:
        k = int(alpha * 2.0**n / 2.0 + 1e-9)
        if k == 0:
            return None
        if n <= LISTING_LIMIT:
            ratios = _subset_sums(a)[1:] / _subset_sums(b)[1:]
            ordered = np.partition(ratios, (k - 1, ratios.size - k))
            ends = float(ordered[k - 1]), float(ordered[ratios.size - k])
        else:
            ends = _kth_subset_ratio(a, b, k), -_kth_subset_ratio(-a, b, k)
    for value in np.atleast_1d(np.asarray(null, dtype=np.float64)).tolist():
        ends = _reconciled(ends, a, b, alpha, value)
    return ends


def _subset_sums(values: FloatArray) -> FloatArray:
    """Return the sum of every subset in the order of binary counting, the empty one first."""
    sums = np.zeros(1)
    for value in values:
        sums = np.concatenate([sums, sums + value])
    return sums


@dataclass(frozen=True)
class _Count:
    """How many subsets (the empty one included) have a mean at most, and below, ``mu``."""

    mu: float
    at_most: float
    below: float


class _Search:
    """Counts and lists subset ratios Σa/Σb by halves of the seeds (b = 1: subset means)."""

    def __init__(self, a: FloatArray, b: FloatArray) -> None:
        half = a.size // 2
        ratios = a / b
        self.lowest, self.highest = float(ratios.min()), float(ratios.max())
        self.centre = float(a.sum() / b.sum())
        self.weight = float(b.sum())
        self.scale = float(np.abs(ratios).max()) or 1.0
        self.slack = _ROUNDING * self.weight * self.scale
        self.total = 2.0**a.size
        self.left, self.left_weight = _subset_sums(a[:half]), _subset_sums(b[:half])
        self.right, self.right_weight = _subset_sums(a[half:]), _subset_sums(b[half:])

    def count(self, mu: float, *, exact: bool = False) -> _Count:
        """Count at ``mu``; only for an ``exact`` are the means below it told apart."""
        right = np.sort(self.right - mu * self.right_weight)
        needed = np.sort(mu * self.left_weight - self.left)
        at_most = float(np.searchsorted(right, needed + self.slack, side="right").sum())
        if not exact:
            return _Count(mu, at_most, at_most)
        below = np.searchsorted(right, needed - self.slack, side="left").sum()
        return _Count(mu, at_most, float(below))

    def ratios_above(self, mu: float, width: float, limit: int) -> tuple[FloatArray, bool]:
        """Return, sorted, subset ratios above ``mu``, and whether none is left out.

        If so they include all in (mu, mu + width]; if not they are some of those.
        """
        right = self.right - mu * self.right_weight
        picks = np.argsort(right)
        right = right[picks]
        needed = mu * self.left_weight - self.left + self.slack
        rows = np.argsort(needed)
        needed = needed[rows]
        first = np.searchsorted(right, needed, side="right")
        # Σ_J b ≤ Σb: a ratio within the width has a sum of deviations within Σb times it.
        size = np.searchsorted(right, needed + self.weight * width, side="right") - first
        whole = int(size.sum()) <= limit
        size = np.diff(np.minimum(np.cumsum(size), limit), prepend=0)
        offset = np.arange(size.sum()) - np.repeat(np.cumsum(size) - size, size)
        picks = picks[np.repeat(first, size) + offset]
        rows = np.repeat(rows, size)
        weight = self.left_weight[rows] + self.right_weight[picks]
        ratios = (self.left[rows] + self.right[picks])[weight > 0] / weight[weight > 0]
        return np.sort(ratios[ratios > mu]), whole


def _kth_subset_ratio(a: FloatArray, b: FloatArray, k: int) -> float:
    """Return the k-th smallest subset ratio: the least μ at which k + 1 subsets count.

    The share of subsets below μ is nearly a normal distribution function in μ, so false
    position (with the Illinois correction) on the normal scale closes in fast until few
    subsets are left, which are listed. Tied data jump instead; there trials at actual
    subset ratios settle it.
    """
    search = _Search(a, b)
    spread = search.highest - search.lowest
    if spread <= _ROUNDING * search.scale:
        return search.centre
    inverse = NormalDist().inv_cdf
    goal = inverse((k + 0.5) / search.total)
    # Below the lowest ratio only the empty subset counts, at the centre about half of all.
    low = _Count(search.lowest - 1e-6 * spread, 1.0, 0.0)
    high = _Count(search.centre, search.total / 2.0, search.total / 2.0)
    below, above = inverse(1.0 / search.total) - goal, -goal
    residuals = a - search.centre * b
    guess = float(np.sqrt(residuals @ residuals)) / search.weight
    guess *= goal * (1.0 + (1.0 + goal**2) / (4.0 * a.size))
    side, few = 0, max(_CANDIDATES, search.left.size // 8)
    gap = high.at_most - low.at_most
    for step in range(200):
        width = high.mu - low.mu
        if gap <= few or width <= _ROUNDING * search.scale:
            listed, whole = search.ratios_above(low.mu, width, 32 * few)
            if listed.size and (whole or width <= _ROUNDING * search.scale):
                return float(listed[min(max(k - int(low.at_most), 0), listed.size - 1)])
        trial = low.mu + width * min(max(-below / (above - below), 1e-9), 1.0 - 1e-9)
        snap = step >= 6 and step % 3 == 0
        if step == 0:
            trial = min(max(search.centre + guess, low.mu + 0.01 * width), high.mu - 0.01 * width)
        elif snap:
            trial = _ratio_between(search, low.mu, high.mu)
        elif step >= 12 and step % 3 == 1:
            trial = (low.mu + high.mu) / 2.0
        middle = search.count(trial, exact=snap)
        if middle.below <= k < middle.at_most:
            return middle.mu
        level = inverse(min(middle.at_most / search.total, 1.0 - 1e-12)) - goal
        # Illinois: an end that stays twice in a row counts half, so both ends move.
        if middle.at_most > k:
            high, above, below = middle, level, below / 2.0 if side > 0 else below
            side = 1
        else:
            low, below, above = middle, level, above / 2.0 if side < 0 else above
            side = -1
        gap = high.at_most - low.at_most
    return high.mu


def _ratio_between(search: _Search, low: float, high: float) -> float:
    """Return an actual subset ratio between two trial values, or their middle."""
    listed, _ = search.ratios_above(low, high - low, 64)
    listed = listed[listed < high]
    return float(listed[listed.size // 2]) if listed.size else (low + high) / 2.0


def _drawn_ends(a: FloatArray, b: FloatArray, alpha: float) -> Interval:
    """Invert the test over drawn sign patterns, each used with its negative."""
    signs = joint_signs(a.size)
    pairs = np.column_stack([a, b])
    sums = np.concatenate([part @ pairs for part in np.array_split(signs, 8)])
    negative, positive = (pairs.sum(axis=0) - sums) / 2.0, (pairs.sum(axis=0) + sums) / 2.0
    trivial = np.abs(signs.sum(axis=1, dtype=np.int64)) == a.size
    ones = np.where(trivial, 1.0, 0.0)
    inside = negative[:, 0] / (negative[:, 1] + ones)
    outside = positive[:, 0] / (positive[:, 1] + ones)
    k, last = int(alpha * len(signs) + 1e-9), len(signs) - 1
    # The identity leaves the sum as it is at every μ, hence the infinite places.
    lows = np.where(trivial, -np.inf, np.minimum(inside, outside))
    highs = np.where(trivial, np.inf, np.maximum(inside, outside))
    return float(np.partition(lows, k)[k]), float(np.partition(highs, last - k)[last - k])


def _reconciled(
    ends: Interval, a: FloatArray, b: FloatArray, alpha: float, null: float
) -> Interval:
    """Move an end onto or off ``null`` where the test, which forgives rounding, says so."""
    low, high = ends
    rejected = reaches(sign_flip_p(difference(a, null * b)), alpha)
    if rejected == (not low <= null <= high):
        return ends
    if not rejected:
        return min(low, null), max(high, null)
    if float(a.sum()) > null * float(b.sum()):
        return float(np.nextafter(null, np.inf)), high
    return low, float(np.nextafter(null, -np.inf))
