"""Sums and differences in which rounding is no effect.

0.1 + 0.2 is not 0.3 in floating point: two configurations that are equal would differ by 6·10⁻¹⁷
in every seed, in one direction, and a test of signs would call that an effect. A sum is 0 here if
it is no more than rounding leaves of its terms, whatever their unit.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from normbench.stats.checks import FloatArray

ROUNDING = 2.0**-40
"""Share of the terms' sizes up to which a sum is rounding: 4,096 times that of one operation, for
values that are themselves computed, and far below what single precision can tell apart."""


def settled(terms: ArrayLike, axis: int = 0) -> FloatArray:
    """Return the sum of ``terms`` along an axis, 0 where it is rounding.

    Args:
        terms: what is added up; give differences as their two sides, since rounding goes by the
            size of these.
        axis: the axis of the terms.
    """
    values = np.asarray(terms, dtype=np.float64)
    total = values.sum(axis=axis)
    size = np.abs(values).sum(axis=axis)
    return np.where(np.abs(total) <= ROUNDING * size, 0.0, total)


def difference(a: ArrayLike, b: ArrayLike) -> FloatArray:
    """Return a − b, 0 where it is rounding; shapes are broadcast."""
    first, second = np.broadcast_arrays(
        np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    )
    return settled(np.stack([first, -second]))


def log_ratio(a: ArrayLike, b: ArrayLike) -> FloatArray:
    """Return log(a/b) of numbers above 0, 0 where they are equal but for rounding."""
    apart = difference(a, b) != 0.0
    ratio = np.asarray(a, dtype=np.float64) / np.asarray(b, dtype=np.float64)
    return np.where(apart, np.log(ratio), 0.0)


def constant(values: ArrayLike) -> bool:
    """Tell whether all values are equal but for rounding."""
    given = np.asarray(values, dtype=np.float64)
    return bool(np.ptp(given) <= ROUNDING * np.abs(given).max(initial=0.0)) if given.size else True
