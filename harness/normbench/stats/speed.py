"""From learning curves to times: smoothing, the interpolated crossing, the restricted time.

All censoring happens at the budget, so the restricted time is fully observed and the
default comparison of means applies to it unchanged. A diverged run that never reached the
threshold counts as never reaching it, not as lost from sight.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from normbench.stats.checks import (
    BoolArray,
    FloatArray,
    Goal,
    check_count,
    check_goal,
    check_positive,
    fault,
)

WINDOW = 3
_AT = 1e-12


class RestrictedTimes(NamedTuple):
    """Per run, in the shape of the curves without their last axis.

    Attributes:
        time: R = min(T, budget), in the unit of x.
        reached: whether the threshold was reached within the budget.
        diverged: whether a value up to the budget was not finite.
    """

    time: FloatArray
    reached: BoolArray
    diverged: BoolArray


def trained(x: ArrayLike, shape: tuple[int, ...]) -> BoolArray:
    """Return which evaluations, of curves of this shape (..., T), came after training began.

    Those at x = 0 say what the initial weights do: they are no result and enter no mean, no best
    value and no level. Where x is not known the run had begun.

    Args:
        x: places of the evaluations, shape (T,) or that of the curves.
        shape: the curves' shape.

    Raises:
        StatisticsError: x has another shape.
    """
    at = np.asarray(x, dtype=np.float64)
    if at.shape not in (shape, shape[-1:]):
        raise fault(
            "x must have one place per evaluation",
            f"x of shape {at.shape}, curves of shape {shape}",
            "pass shape (T,), or the shape of the curves",
        )
    after: BoolArray = np.broadcast_to(~(at <= 0.0), shape)
    return after


def running_mean(
    curves: ArrayLike, window: int = WINDOW, *, x: ArrayLike | None = None
) -> FloatArray:
    """Return the mean over the last ``window`` evaluations, fewer at the start.

    Without smoothing the noisier of two equally fast configurations is called faster.
    From the first value that is not finite on, everything is NaN. An evaluation at x = 0 stays as
    it is and enters no mean: it is where the first interpolation begins.

    Args:
        curves: metric per evaluation along the last axis, shape (..., T).
        window: number of evaluations.
        x: places of the evaluations, shape (T,) or that of ``curves``; without them all
            evaluations count as made after training began.

    Raises:
        StatisticsError: no evaluation, not numbers, shapes that do not fit, or window below 1.
    """
    values = blanked(curves)
    after = trained(np.ones(values.shape[-1]) if x is None else x, values.shape)
    own, counted = np.where(after, values, 0.0), after.astype(np.float64)
    total, number = own.copy(), counted.copy()
    for back in range(1, min(check_count(window, "window"), values.shape[-1])):
        total[..., back:] += own[..., :-back]
        number[..., back:] += counted[..., :-back]
    return np.where(after, total / np.maximum(number, 1.0), values)


def crossing_time(
    x: ArrayLike,
    curves: ArrayLike,
    threshold: float,
    *,
    goal: Goal,
    budget: float = np.inf,
    window: int = WINDOW,
) -> FloatArray:
    """Return where the running mean first is at or beyond the threshold, ∞ if it never is.

    The first evaluation x_i ≤ budget at or beyond it is found and the crossing is
    interpolated linearly from the evaluation before; a first evaluation already beyond
    gives x_1 itself. Later falls do not undo a crossing, and there is none into or past a
    value that is not finite.

    Args:
        x: epochs, samples or seconds of the evaluations, increasing; shape (T,) or that of
            ``curves``. With an evaluation before training x starts at 0.
        curves: metric per evaluation, shape (..., T).
        threshold: θ in the unit of the metric.
        goal: ``"max"`` crosses upwards, ``"min"`` downwards.
        budget: evaluations later than this do not count.
        window: evaluations in the running mean, which one at x = 0 does not enter.

    Raises:
        StatisticsError: shapes that do not fit, x not increasing, a threshold not finite.

    Source: Dahl et al. (2023) for "never" = ∞.
    """
    if not np.isfinite(threshold):
        raise fault("the threshold must be finite", threshold, "declare one, or pool one")
    sign = -check_goal(goal)
    smooth = sign * running_mean(curves, window, x=x)
    at = _positions(x, smooth, curves)
    theta = sign * float(threshold)
    beyond = (smooth >= theta - _AT * abs(theta)) & (at <= budget)
    first = beyond.argmax(axis=-1)[..., None]
    before = np.maximum(first - 1, 0)
    m1, m0 = (np.take_along_axis(smooth, i, -1)[..., 0] for i in (first, before))
    x1, x0 = (np.take_along_axis(at, i, -1)[..., 0] for i in (first, before))
    rise = m1 - m0
    moving = np.isfinite(rise) & (rise > 0)
    share = np.where(moving, (theta - m0) / np.where(moving, rise, 1.0), 1.0)
    time = x0 + (x1 - x0) * np.clip(share, 0.0, 1.0)
    return np.where(beyond.any(axis=-1), time, np.inf)


def restricted_time(
    x: ArrayLike,
    curves: ArrayLike,
    threshold: float,
    *,
    goal: Goal,
    budget: float,
    window: int = WINDOW,
    diverged: ArrayLike | None = None,
) -> RestrictedTimes:
    """Return R = min(T, budget) of every run, with what happened to it.

    Censoring is at the budget alone: a run that diverged before reaching the threshold has
    R = budget; one that reached it before keeps its time.

    Args:
        x, curves, threshold, goal, window: as in ``crossing_time``.
        budget: E, in the unit of x.
        diverged: marks runs that diverged though no value of their curve is non-finite
            (a curve cut short, say); shape of the curves without their last axis.

    Raises:
        StatisticsError: as ``crossing_time``; a budget not positive; a run that neither
            diverged nor reached the threshold whose curve stops before the budget.

    Source: Royston and Parmar (2013) for the restricted mean.
    """
    limit = check_positive(budget, "budget")
    time = crossing_time(x, curves, threshold, goal=goal, budget=limit, window=window)
    values = np.asarray(curves, dtype=np.float64)
    at = _positions(x, values, curves)
    broken: BoolArray = np.asarray((~np.isfinite(values) & ~(at > limit)).any(axis=-1))
    if diverged is not None:
        broken = broken | np.broadcast_to(np.asarray(diverged, dtype=np.bool_), broken.shape)
    reached: BoolArray = np.asarray(np.isfinite(time))
    _check_complete(at, limit, reached | broken)
    return RestrictedTimes(np.where(reached, time, limit), reached, broken)


def blanked(curves: ArrayLike) -> FloatArray:
    """Return the curves, shape (..., T), with NaN from the first non-finite value on.

    Raises:
        StatisticsError: no evaluation, or not numbers.
    """
    try:
        values = np.array(curves, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise fault(
            "curves must be numbers along the last axis", error, "pad short runs with NaN"
        ) from error
    if values.ndim == 0 or values.shape[-1] == 0:
        raise fault("a curve needs at least one evaluation", values.shape, "evaluate the run")
    values[np.logical_or.accumulate(~np.isfinite(values), axis=-1)] = np.nan
    return values


def _positions(x: ArrayLike, values: FloatArray, curves: ArrayLike) -> FloatArray:
    """Return x in the shape of the curves, checked where the curves have values."""
    at = np.asarray(x, dtype=np.float64)
    at = np.broadcast_to(np.where(np.isfinite(at), at, np.nan), values.shape)
    used = np.isfinite(blanked(curves))
    if not np.isfinite(at[used]).all():
        raise fault("x must be finite where the curve is", "NaN or ∞", "record every evaluation")
    steps = np.diff(at, axis=-1)[used[..., 1:]]
    if (steps <= 0).any():
        raise fault("x must increase along a curve", float(steps.min()), "sort the evaluations")
    return at


def _check_complete(at: FloatArray, budget: float, settled: BoolArray) -> None:
    """Refuse a curve that stops more than its widest step before the budget, undecided."""
    last = at[..., -1]
    widest = np.diff(at, axis=-1).max(axis=-1, initial=0.0) if at.shape[-1] > 1 else budget - last
    short = ~settled & (last + widest < budget * (1.0 - 1e-9))
    if short.any():
        raise fault(
            "a run without divergence must be evaluated up to the budget",
            f"{int(short.sum())} curves end at {float(last[short].min()):g} of {budget:g}",
            "train on, lower the budget, or mark the run as diverged",
        )
