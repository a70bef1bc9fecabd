"""The sign-flip test of paired differences, exact for up to 40 seeds.

If the labels A and B are exchangeable within a seed, each difference is as likely with
either sign, so the 2ⁿ sign patterns of the observed |d| are equally likely. The p-value is
the share of patterns whose sum is at least as far out as the observed one.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from normbench.stats.checks import FloatArray, check_count, fault, matrix, vector

Alternative = Literal["two-sided", "greater", "less"]

ENUMERATION_LIMIT = 13
"""Up to here all sign patterns are multiplied out; several columns then share one product."""

EXACT_LIMIT = 40
"""Up to here one column is counted exactly by halves; above, signs are drawn."""

DRAWS = 99_999
SIGN_SEED = 7_919
"""Fixed, so that the same data always give the same p-value."""

TOLERANCE = 1e-9
"""Sums closer than this share of Σ|d| are ties: decimal data do not add up exactly."""

_CHUNK = 16_384


def sign_flip_p(d: ArrayLike, alternative: Alternative = "two-sided") -> float:
    """Return the p-value of the sign-flip test that the differences centre on 0.

    The null is that every d_s is distributed symmetrically about 0 (which identical
    distributions within a seed imply); alternatives are a positive or negative centre or
    either. For n ≤ 40 the value is exact and takes no random numbers: all signed sums of
    each half of the seeds, one half sorted, a binary search per sum of the other half.
    Above, 99,999 drawn patterns (fixed seed), each with its negative, join the identity.

    Args:
        d: differences, shape (n,), any unit.
        alternative: ``"two-sided"``, ``"greater"`` (positive centre) or ``"less"``.

    Raises:
        StatisticsError: not a finite vector, or an unknown alternative.

    Source: Pagano and Tritchler (1983); for drawn patterns Hemerik and Goeman (2018).
    """
    values = vector(d, "d")
    if not ENUMERATION_LIMIT < values.size <= EXACT_LIMIT:
        return float(sign_flip_p_columns(values[:, None], alternative)[0])
    values = _rescaled(values)
    total, slack = float(values.sum()), TOLERANCE * float(np.abs(values).sum())
    if _oriented(alternative) == 0:
        if abs(total) <= slack:
            return 1.0
        return 2.0 * _tail_count(values * np.sign(total), slack) / 2.0**values.size
    return _tail_count(values * _oriented(alternative), slack) / 2.0**values.size


def sign_flip_p_columns(d: ArrayLike, alternative: Alternative = "two-sided") -> FloatArray:
    """Return ``sign_flip_p`` of every column of ``d``, shape (n, m), as shape (m,).

    Null, alternatives and errors are those of ``sign_flip_p``; nothing is corrected for
    the number of columns.
    """
    columns = matrix(d, "d")
    n, m = columns.shape
    if ENUMERATION_LIMIT < n <= EXACT_LIMIT:
        return np.array([sign_flip_p(columns[:, j], alternative) for j in range(m)])
    direction = _oriented(alternative)
    columns = np.stack([_rescaled(columns[:, j]) for j in range(m)], axis=1)
    total = columns.sum(axis=0)
    slack = TOLERANCE * np.abs(columns).sum(axis=0)
    cut = (np.abs(total) if direction == 0 else direction * total) - slack
    hits = np.zeros(m, dtype=np.int64)
    patterns = joint_signs(n)
    for start in range(0, len(patterns), _CHUNK):
        # Each row stands for itself and its negative, so one product serves both tails.
        sums = patterns[start : start + _CHUNK].astype(np.float64) @ columns
        hits += (sums >= cut).sum(axis=0) + (-sums >= cut).sum(axis=0)
    share = hits / (2.0 * len(patterns))
    return np.minimum(2.0 * share, 1.0) if direction == 0 else share


def joint_signs(n: int, draws: int = DRAWS, seed: int = SIGN_SEED) -> NDArray[np.int8]:
    """Return sign patterns of ``n`` seeds as rows of ±1, the identity first.

    Up to 13 seeds these are the 2ⁿ⁻¹ patterns that keep the first sign (with their
    negatives: all); above, ``draws`` drawn ones join the identity. The array is shared
    and read-only.

    Raises:
        StatisticsError: ``n`` or ``draws`` is not a positive whole number.
    """
    return _joint_signs(check_count(n, "n"), check_count(draws, "draws"), seed)


@lru_cache(maxsize=8)
def _joint_signs(n: int, draws: int, seed: int) -> NDArray[np.int8]:
    if n <= ENUMERATION_LIMIT:
        bits = (np.arange(2 ** (n - 1))[:, None] >> np.arange(n)) & 1
        signs = (1 - 2 * bits).astype(np.int8)[:, ::-1]
    else:
        rng = np.random.default_rng(seed)
        drawn = rng.integers(0, 2, size=(draws, n), dtype=np.int8)
        signs = np.concatenate([np.ones((1, n), dtype=np.int8), 1 - 2 * drawn])
    signs.setflags(write=False)
    return signs


def signed_sums(d: FloatArray) -> FloatArray:
    """Return the 2ⁿ sums Σ ±dᵢ in the order of binary counting."""
    sums = np.zeros(1)
    for value in d:
        sums = np.concatenate([sums - value, sums + value])
    return sums


def _tail_count(d: FloatArray, slack: float) -> int:
    """Count the sign patterns whose sum is at least Σd, ties within ``slack`` included."""
    half = d.size // 2
    left, right = signed_sums(d[:half]), np.sort(signed_sums(d[half:]))
    # Sorted queries walk through memory in order, which is several times faster.
    needed = np.sort(float(d.sum()) - slack - left)
    return int(right.size * left.size - np.searchsorted(right, needed, side="left").sum())


def _rescaled(d: FloatArray) -> FloatArray:
    """Divide by a power of two, exactly, so that no sum over- or underflows."""
    largest = float(np.abs(d).max())
    return d if largest == 0.0 else np.ldexp(d, -int(np.frexp(largest)[1]))


def _oriented(alternative: str) -> int:
    directions = {"two-sided": 0, "greater": 1, "less": -1}
    if alternative not in directions:
        raise fault(
            "alternative must be one of two-sided, greater, less",
            repr(alternative),
            'use "two-sided" unless the direction was declared before the data were seen',
        )
    return directions[alternative]
