"""Several claims judged together: adjusted p-values and simultaneous intervals.

The default shares one random sign per seed among all claims, so the correlation of the
claims is used instead of being paid for.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from normbench.stats.checks import (
    P_SLACK,
    BoolArray,
    FloatArray,
    check_alpha,
    fault,
    matrix,
    vector,
)
from normbench.stats.flip import DRAWS, SIGN_SEED, joint_signs

_SLACK = 1e-9
_CHUNK = 16_384


@dataclass(frozen=True)
class Band:
    """A simultaneous band over several columns of differences, arrays of shape (m,).

    Attributes:
        mean: the mean differences.
        low, high: the band; NaN for a column left out.
        critical: the factor c of the standard errors.
        kept: False for a constant column, which has no standard error.
        level: simultaneous confidence level.
    """

    mean: FloatArray
    low: FloatArray
    high: FloatArray
    critical: float
    kept: BoolArray
    level: float


def max_t(d: ArrayLike, *, draws: int = DRAWS, seed: int = SIGN_SEED) -> FloatArray:
    """Return the step-down max-T adjusted p-values of the columns of ``d``.

    Per claim the null is that its differences centre on 0 (two-sided); the statistic is
    |Σσd|/√Σd², and the seeds' signs are flipped jointly for all claims: all 2ⁿ vectors for
    n ≤ 13, else ``draws`` drawn ones (fixed seed) and the identity. The family-wise error
    is controlled if the rows are jointly symmetric under the nulls, which is more than
    labels exchangeable within a seed.

    Args:
        d: complete blocks, shape (n, m): one row per seed, one column per claim.
        draws: number of drawn sign vectors above 13 seeds.
        seed: seed of the drawing.

    Returns:
        Adjusted p-values, shape (m,), in the order of the columns.

    Raises:
        StatisticsError: not a finite matrix (exclude incomplete seeds first).

    Source: Westfall and Young (1993); Romano and Wolf (2005).
    """
    columns = _unit_columns(matrix(d, "d"))
    observed = np.abs(columns.sum(axis=0))
    order = np.argsort(-observed, kind="stable")
    columns, cut = columns[:, order], observed[order] - _SLACK
    hits, total = np.zeros(order.size, dtype=np.int64), 0
    for sums in _flipped_sums(columns, draws, seed):
        # Each claim competes with itself and the less significant ones only.
        largest = np.maximum.accumulate(np.abs(sums)[:, ::-1], axis=1)[:, ::-1]
        hits += (largest >= cut).sum(axis=0)
        total += len(sums)
    adjusted = np.empty(order.size)
    adjusted[order] = np.maximum.accumulate(hits / total)
    return adjusted


def simultaneous_band(
    d: ArrayLike, alpha: float = 0.05, *, draws: int = DRAWS, seed: int = SIGN_SEED
) -> Band:
    """Return a band that holds all column means at once with probability 1 − alpha.

    Mean ± c·se, with c the ⌈(1 − alpha)·N⌉-th smallest of max_j |t_j| over the N joint sign
    flips of the centred columns, t studentised anew in each. Constant columns are left
    out. The coverage is approximate (simulated .95 to .97).

    Args:
        d: shape (n, m), n ≥ 2: one row per seed, one column per claim or threshold.
        alpha: 1 − simultaneous level.
        draws, seed: as in ``max_t``.

    Raises:
        StatisticsError: not a finite matrix, fewer than two seeds, alpha outside (0, 1).
    """
    values = matrix(d, "d")
    n = len(values)
    if n < 2:
        raise fault("a band needs at least two seeds", n, "run more seeds")
    mean, error = values.mean(axis=0), values.std(axis=0, ddof=1) / n**0.5
    kept: BoolArray = np.asarray(error > 1e-12 * np.abs(values).max(axis=0))
    low, high = np.full(mean.shape, np.nan), np.full(mean.shape, np.nan)
    critical = float("nan")
    level = 1.0 - check_alpha(alpha)
    if kept.any():
        critical = _critical(values[:, kept] - mean[kept], level, draws, seed)
        low[kept] = mean[kept] - critical * error[kept]
        high[kept] = mean[kept] + critical * error[kept]
    return Band(mean, low, high, critical, kept, level)


def holm(p: ArrayLike) -> FloatArray:
    """Return Holm's step-down adjusted p-values, shape (m,), valid under any dependence.

    Raises:
        StatisticsError: not a vector of numbers between 0 and 1.

    Source: Holm (1979).
    """
    values = _p_values(p)
    order = np.argsort(values, kind="stable")
    factors = np.arange(values.size, 0, -1)
    adjusted = np.empty(values.size)
    adjusted[order] = np.minimum(np.maximum.accumulate(values[order] * factors), 1.0)
    return adjusted


def benjamini_hochberg(p: ArrayLike) -> FloatArray:
    """Return p-values adjusted for the false discovery rate, shape (m,).

    Only for tables under the label "exploratory"; it does not control the family-wise
    error, and the rate only for independent or positively dependent claims.

    Raises:
        StatisticsError: not a vector of numbers between 0 and 1.

    Source: Benjamini and Hochberg (1995).
    """
    values = _p_values(p)
    order = np.argsort(-values, kind="stable")
    factors = values.size / np.arange(values.size, 0, -1)
    adjusted = np.empty(values.size)
    adjusted[order] = np.minimum(np.minimum.accumulate(values[order] * factors), 1.0)
    return adjusted


def _critical(centred: FloatArray, level: float, draws: int, seed: int) -> float:
    """Return c. |t| grows with v = (Σσx)²/(nΣx²), so the largest v is enough per flip."""
    n = len(centred)
    columns = _unit_columns(centred)
    parts = [(sums**2).max(axis=1) / n for sums in _flipped_sums(columns, draws, seed)]
    largest = np.concatenate(parts)
    place = int(np.ceil(level * largest.size - P_SLACK * largest.size)) - 1
    v = float(np.partition(largest, place)[place])
    return float("inf") if v >= 1.0 - 1e-12 else ((n - 1) * v / (1.0 - v)) ** 0.5


def _flipped_sums(columns: FloatArray, draws: int, seed: int) -> Iterator[FloatArray]:
    signs: NDArray[np.int8] = joint_signs(len(columns), draws, seed)
    for start in range(0, len(signs), _CHUNK):
        yield signs[start : start + _CHUNK].astype(np.float64) @ columns


def _unit_columns(d: FloatArray) -> FloatArray:
    """Divide every column by √Σd²; an all-zero one stays zero."""
    largest = np.abs(d).max(axis=0)
    scaled = d / np.where(largest > 0, largest, 1.0)
    length = np.sqrt((scaled**2).sum(axis=0))
    unit: FloatArray = scaled / np.where(length > 0, length, 1.0)
    return unit


def _p_values(p: ArrayLike) -> FloatArray:
    values = vector(p, "p")
    if (values < 0).any() or (values > 1).any():
        raise fault("p-values lie between 0 and 1", values.tolist(), "pass unadjusted p-values")
    return values
