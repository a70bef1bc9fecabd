"""Checks of what enters a statistical procedure, worded alike everywhere.

A message says the rule, what was received and the likely fix. Input that breaks a rule
raises; data that are in order but too few to decide give a result with a refusal instead.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from normbench.errors import StatisticsError

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
Goal = Literal["min", "max"]

MIN_SEEDS = 6
"""Below this many seeds no two-sided flip test can reach 5 %, so none is reported."""

P_SLACK = 1e-12
"""Rounding of α·2ⁿ: a p-value that equals α in exact arithmetic counts as reaching it."""


def fault(rule: str, received: object, fix: str) -> StatisticsError:
    """Build the error for a broken rule; the caller raises it."""
    return StatisticsError(f"{rule}\n    received: {received}\n    likely fix: {fix}")


def vector(x: ArrayLike, name: str) -> FloatArray:
    """Return ``x`` as a finite float vector of shape (n,), n ≥ 1.

    Raises:
        StatisticsError: wrong shape, not numbers, empty, or a value that is not finite.
    """
    values = _floats(x, name)
    if values.ndim != 1 or values.size == 0:
        raise fault(
            f"{name} must be one-dimensional, one number per seed",
            f"shape {values.shape}",
            "pass the values of one endpoint, one per seed",
        )
    return _finite(values, name)


def matrix(x: ArrayLike, name: str, *, finite: bool = True) -> FloatArray:
    """Return ``x`` as a float matrix with one row per seed, finite unless told otherwise.

    Raises:
        StatisticsError: wrong shape, not numbers, empty, or (if asked) a non-finite value.
    """
    values = _floats(x, name)
    if values.ndim != 2 or values.size == 0:
        raise fault(
            f"{name} must be two-dimensional, one row per seed",
            f"shape {values.shape}",
            "stack the seeds as rows, the claims or batch sizes or evaluations as columns",
        )
    return _finite(values, name) if finite else values


def flags(x: ArrayLike, name: str) -> BoolArray:
    """Return 0/1 or boolean ``x`` of shape (n,) as booleans.

    Raises:
        StatisticsError: a value other than 0 and 1, or a wrong shape.
    """
    values = vector(x, name)
    if not np.isin(values, (0.0, 1.0)).all():
        raise fault(
            f"{name} must be 0 or 1 per seed", _first_bad(values), "mark each run true or false"
        )
    return values.astype(np.bool_)


def same_shape(a: FloatArray | BoolArray, b: FloatArray | BoolArray, names: str) -> None:
    """Refuse two arrays that are not block by block.

    Raises:
        StatisticsError: the shapes differ.
    """
    if a.shape != b.shape:
        raise fault(
            f"{names} must hold the same seeds in the same order",
            f"shapes {a.shape} and {b.shape}",
            "keep the seeds that both configurations have (see complete_blocks)",
        )


def check_alpha(alpha: float) -> float:
    """Return the level ``alpha`` if it lies strictly between 0 and 1.

    Raises:
        StatisticsError: it does not.
    """
    if not 0.0 < alpha < 1.0:
        raise fault("alpha must lie strictly between 0 and 1", alpha, "use 0.05")
    return float(alpha)


def check_goal(goal: str) -> float:
    """Return the sign that makes B − A favour A: +1 for ``"min"``, −1 for ``"max"``.

    Raises:
        StatisticsError: another word.
    """
    if goal not in ("min", "max"):
        raise fault(
            'goal must be "min" or "max"', repr(goal), 'declare goal = "min" for an error or a loss'
        )
    return 1.0 if goal == "min" else -1.0


def check_positive(value: float, name: str) -> float:
    """Return ``value`` if it is finite and above 0.

    Raises:
        StatisticsError: it is not.
    """
    if not (np.isfinite(value) and value > 0):
        raise fault(f"{name} must be a finite number above 0", value, f"declare a positive {name}")
    return float(value)


def check_count(value: int, name: str, least: int = 1) -> int:
    """Return the whole number ``value`` if it is at least ``least``.

    Raises:
        StatisticsError: it is not.
    """
    if isinstance(value, bool) or value != int(value) or value < least:
        raise fault(f"{name} must be a whole number of at least {least}", value, f"use {least}")
    return int(value)


def reaches(p: float, alpha: float) -> bool:
    """Tell whether ``p`` is at most ``alpha``, equality in exact arithmetic included."""
    return p <= alpha + P_SLACK


def _floats(x: ArrayLike, name: str) -> FloatArray:
    try:
        return np.asarray(x, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise fault(
            f"{name} must be an array of numbers", error, "remove text, None and ragged rows"
        ) from error


def _finite(values: FloatArray, name: str) -> FloatArray:
    bad = np.count_nonzero(~np.isfinite(values))
    if bad:
        raise fault(
            f"{name} must be finite",
            f"{bad} of {values.size} values are NaN or infinite",
            "give a diverged run its failure score; leave out a seed with a missing run",
        )
    return values


def _first_bad(values: FloatArray) -> float:
    return float(values[~np.isin(values, (0.0, 1.0))][0])
