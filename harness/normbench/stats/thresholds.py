"""Thresholds chosen without looking at who is who, and sweeps over many of them.

A threshold read off one configuration's own runs biases the comparison; one computed from
all runs pooled does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from normbench.stats.checks import (
    FloatArray,
    Goal,
    check_alpha,
    check_count,
    check_goal,
    fault,
    same_shape,
    vector,
)
from normbench.stats.durations import restricted_mean_difference
from normbench.stats.multiplicity import Band, max_t, simultaneous_band
from normbench.stats.refusals import cannot_reach, count_nonzero
from normbench.stats.result import Result
from normbench.stats.rounding import difference
from normbench.stats.speed import WINDOW, restricted_time, running_mean, trained

REACHED_SHARE = 0.8


def pooled_threshold(
    curves: Sequence[ArrayLike],
    *,
    goal: Goal,
    share: float = REACHED_SHARE,
    window: int = WINDOW,
    x: Sequence[ArrayLike] | None = None,
) -> float:
    """Return the hardest threshold that at least ``share`` of all pooled runs reach.

    Label-blind: permuting runs among configurations changes nothing, so the comparison at
    it stays valid. Compute it once, at the first look, and freeze it.

    Args:
        curves: per configuration its curves, shape (n, T), NaN after divergence; at least
            two configurations.
        goal: ``"max"`` or ``"min"``.
        share: in (0, 1]; diverged runs count by what they reached before.
        window: evaluations in the running mean.
        x: per configuration the places of its evaluations, shape (T,); one at 0, before
            training, is no level that a run reached. Without them all evaluations count.

    Raises:
        StatisticsError: fewer than two configurations, a share outside (0, 1], or fewer
            runs with any finite value than the share asks for.
    """
    best = _best_levels(curves, goal, window, x)
    if not 0.0 < share <= 1.0:
        raise fault("share must lie in (0, 1]", share, f"use {REACHED_SHARE}")
    place = int(np.ceil(share * best.size - 1e-9)) - 1
    level = float(np.sort(-best)[place])
    if not np.isfinite(level):
        raise fault(
            "enough runs must have finite values for a threshold",
            f"{int(np.isfinite(best).sum())} of {best.size} runs, share {share:g}",
            "lower the share, or declare the threshold",
        )
    return check_goal(goal) * level


def pooled_grid(
    curves: Sequence[ArrayLike],
    *,
    goal: Goal,
    count: int = 20,
    shares: tuple[float, float] = (0.95, 0.5),
    window: int = WINDOW,
    x: Sequence[ArrayLike] | None = None,
) -> FloatArray:
    """Return ``count`` equally spaced thresholds for a sweep, label-blind, easiest first.

    Args:
        curves, goal, window, x: as in ``pooled_threshold``.
        count: number of thresholds, at least 2.
        shares: pooled shares of runs that reach the easiest and the hardest threshold.

    Raises:
        StatisticsError: as ``pooled_threshold``, or fewer than two thresholds.
    """
    check_count(count, "count", 2)
    first, last = (pooled_threshold(curves, goal=goal, share=s, window=window, x=x) for s in shares)
    return np.linspace(first, last, count)


@dataclass(frozen=True)
class Sweep:
    """The comparison at every threshold of one family.

    Attributes:
        thresholds: the K thresholds.
        results: per threshold its result; ``details["adjusted_p"]`` is corrected for the
            sweep, ``details["simultaneous_interval"]`` is the band there.
        band: the simultaneous band of the mean-difference curve.
    """

    thresholds: tuple[float, ...]
    results: tuple[Result, ...]
    band: Band

    def __str__(self) -> str:
        lines = ["threshold sweep: restricted mean time saved (positive: A is faster)"]
        lines.append("  threshold   saved   simultaneous interval   adjusted p")
        for theta, result in zip(self.thresholds, self.results, strict=True):
            pair, p = result.details["simultaneous_interval"], result.details["adjusted_p"]
            text = f"{pair[0]:.4g} to {pair[1]:.4g}" if isinstance(pair, tuple) else "constant"
            shown = f"{p:.3g}" if isinstance(p, float) else "refused"
            lines.append(f"  {theta:9.4g}   {result.estimate:.4g}   {text}   {shown}")
        return "\n".join(lines)


def threshold_sweep(
    x: ArrayLike,
    curves_a: ArrayLike,
    curves_b: ArrayLike,
    thresholds: ArrayLike,
    *,
    goal: Goal,
    budget: float,
    window: int = WINDOW,
    alpha: float = 0.05,
) -> Sweep:
    """Compare the time to each of K thresholds as one family (max-T with joint flips).

    Per threshold the estimand is the restricted mean time that A saves; its null is that
    the within-seed difference of restricted times is symmetric about 0, two-sided. The
    thresholds must be declared or pooled, never read off one configuration.

    Args:
        x: places of the evaluations, shape (T,).
        curves_a, curves_b: shape (n, T), the same seeds in the same order.
        thresholds: the K values of θ.
        goal, budget, window: as in ``restricted_time``.
        alpha: family-wise level, and 1 − level of the simultaneous band.

    Raises:
        StatisticsError: shapes that do not fit, or as ``restricted_time``.
    """
    thetas = vector(thresholds, "thresholds")
    check_alpha(alpha)
    runs = [
        [
            restricted_time(x, curves, float(t), goal=goal, budget=budget, window=window)
            for t in thetas
        ]
        for curves in (curves_a, curves_b)
    ]
    r_a, r_b = (np.stack([run.time for run in side], axis=1) for side in runs)
    same_shape(r_a, r_b, "curves_a and curves_b")
    diverged = int(runs[0][0].diverged.sum() + runs[1][0].diverged.sum())
    d = difference(r_b, r_a)
    adjusted = max_t(d)
    band = simultaneous_band(d, alpha)
    results = []
    for j in range(thetas.size):
        single = restricted_mean_difference(
            r_a[:, j], r_b[:, j], budget=budget, alpha=alpha, diverged=diverged
        )
        refused = single.refusal or cannot_reach(
            count_nonzero(d[:, j]), alpha, thetas.size, "max-t"
        )
        pair = (float(band.low[j]), float(band.high[j])) if band.kept[j] else None
        results.append(
            replace(
                single,
                details={
                    **single.details,
                    "threshold": float(thetas[j]),
                    "interval_note": "this threshold alone",
                    "adjusted_p": None if refused else float(adjusted[j]),
                    "simultaneous_interval": pair,
                },
            )
        )
    return Sweep(tuple(thetas.tolist()), tuple(results), band)


def _best_levels(
    curves: Sequence[ArrayLike], goal: Goal, window: int, x: Sequence[ArrayLike] | None
) -> FloatArray:
    """Return the best smoothed level of every run, larger = better, −∞ without any."""
    if len(curves) < 2:
        raise fault(
            "a threshold is pooled over all configurations, never taken from one",
            f"{len(curves)} configuration",
            "pass the curves of every configuration that will be compared",
        )
    sign = -check_goal(goal)
    levels = []
    for group, at in zip(curves, [None] * len(curves) if x is None else x, strict=True):
        smooth = sign * np.atleast_2d(running_mean(group, window, x=at))
        reached = np.isfinite(smooth) & (True if at is None else trained(at, smooth.shape))
        levels.append(np.where(reached, smooth, -np.inf).max(axis=-1).ravel())
    return np.concatenate(levels)
