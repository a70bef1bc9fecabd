"""One number per run: the endpoint's value from the run's curve, divergence included.

A diverged run is a result. It takes the failure score (the metric under chance
prediction), never a missing value; finished runs worse than that are set to it and counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log
from typing import Literal

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
from normbench.stats.rounding import difference
from normbench.stats.speed import WINDOW, blanked, restricted_time, trained

Kind = Literal["final", "best", "time", "aulc", "diverged"]


@dataclass(frozen=True)
class EndpointValues:
    """Per-run values of one endpoint, shape (n,) each.

    Attributes:
        values: the endpoint's value of every run.
        diverged: which runs diverged.
        clipped: which runs were worse than the failure score and set to it.
        reached: for ``time``, which runs reached the threshold; None otherwise.
    """

    values: FloatArray
    diverged: BoolArray
    clipped: BoolArray
    reached: BoolArray | None = None

    @property
    def n_clipped(self) -> int:
        """Number of runs set to the failure score though they finished."""
        return int(self.clipped.sum())

    @property
    def n_diverged(self) -> int:
        """Number of runs that diverged."""
        return int(self.diverged.sum())


def endpoint_values(
    kind: Kind,
    x: ArrayLike,
    curves: ArrayLike,
    *,
    goal: Goal,
    window: int = WINDOW,
    failure_score: float | None = None,
    threshold: float | None = None,
    budget: float | None = None,
    diverged: ArrayLike | None = None,
) -> EndpointValues:
    """Return the value of one endpoint for every run.

    ``final``: mean over the last ``window`` evaluations. ``best``: best evaluation. ``time``:
    restricted time to the threshold. ``aulc``: mean over the evaluations (up to the budget if
    one is given), the failure score standing for those after divergence. ``diverged``: 0 or 1.
    Except for the last two, a diverged run's value is the failure score, for ``time`` the budget
    unless it reached the threshold before.

    An evaluation at x = 0, before training, is no result and enters none of them: for ``time`` it
    is where the first interpolation begins.

    Args:
        kind: the endpoint.
        x: places of the evaluations, shape (T,) or (n, T), increasing.
        curves: metric per run and evaluation, shape (n, T); NaN from divergence on.
        goal: ``"min"`` or ``"max"``.
        window: evaluations averaged by ``final`` and in the running mean of ``time``.
        failure_score: needed by ``final``, ``best`` and ``aulc``.
        threshold, budget: needed by ``time``.
        diverged: marks runs that diverged though their curve is finite, shape (n,).

    Raises:
        StatisticsError: a declaration is missing, shapes do not fit, unknown kind or goal, or a
            run that did not diverge has no evaluation after training began.
    """
    raw = np.asarray(curves, dtype=np.float64)
    if raw.ndim != 2:
        raise fault("curves must have shape (runs, evaluations)", raw.shape, "one row per run")
    values = blanked(raw)
    broken: BoolArray = np.asarray(~np.isfinite(raw).all(axis=1))
    if diverged is not None:
        broken = broken | np.asarray(diverged, dtype=np.bool_)
    none: BoolArray = np.zeros(len(raw), dtype=np.bool_)
    if kind == "diverged":
        return EndpointValues(broken.astype(np.float64), broken, none)
    if kind == "time":
        return _time(x, raw, goal, window, threshold, budget, broken)
    score = _declared(failure_score, "failure_score", kind)
    after = trained(x, values.shape)
    if not (after.any(axis=1) | broken).all():
        raise fault(
            f"endpoint {kind} needs an evaluation after training began",
            "only the one before it",
            "evaluate runs while or after they are trained",
        )
    if kind == "final":
        width = min(check_count(window, "window"), raw.shape[1])
        finished = _mean_over(values[:, -width:], after[:, -width:])
    elif kind == "best":
        worst = -np.inf if goal == "max" else np.inf
        kept = np.where(after, values, worst)
        finished = kept.max(axis=1) if goal == "max" else kept.min(axis=1)
    elif kind == "aulc":
        finished = _mean_level(x, values, score, budget)
    else:
        raise fault(
            "endpoint must be one of final, best, time, aulc, diverged", repr(kind), "use final"
        )
    if kind != "aulc":
        finished = np.where(broken, score, finished)
    sign = check_goal(goal)
    worse: BoolArray = np.asarray(sign * difference(finished, score) > 0)
    return EndpointValues(np.where(worse, score, finished), broken, worse & ~broken)


def chance_error(classes: int) -> float:
    """Return 1 − 1/K, the failure score of an accuracy error with K balanced classes.

    Raises:
        StatisticsError: fewer than two classes.
    """
    return 1.0 - 1.0 / check_count(classes, "classes", 2)


def blind_score(loss: bool, classes: int, label_variance: float | None = None) -> float:
    """Return the failure score of a run: its error, or loss, had it ignored the inputs.

    With K ≥ 2 classes that is 1 − 1/K, or ln K. A regression (``classes`` 1) has no share of hits
    by chance: an error counts as 1, and the loss as the variance of the training labels, which is
    the mean squared error of their mean.

    Raises:
        StatisticsError: fewer than one class, or the loss of a regression without a variance.
    """
    if check_count(classes, "classes", 1) > 1:
        return chance_loss(classes) if loss else chance_error(classes)
    if not loss:
        return 1.0
    if label_variance is None:
        raise fault(
            "the loss of a regression needs the labels' variance as its failure score",
            "None",
            "pass label_variance",
        )
    return check_positive(label_variance, "label_variance")


def chance_loss(classes: int) -> float:
    """Return ln K, the failure score of a cross-entropy with K classes.

    Raises:
        StatisticsError: fewer than two classes.
    """
    return log(check_count(classes, "classes", 2))


def _time(
    x: ArrayLike,
    curves: FloatArray,
    goal: Goal,
    window: int,
    threshold: float | None,
    budget: float | None,
    diverged: BoolArray,
) -> EndpointValues:
    times = restricted_time(
        x,
        curves,
        _declared(threshold, "threshold", "time"),
        goal=goal,
        budget=_declared(budget, "budget", "time"),
        window=window,
        diverged=diverged,
    )
    clipped: BoolArray = np.zeros(len(curves), dtype=np.bool_)
    return EndpointValues(times.time, times.diverged, clipped, times.reached)


def _mean_level(x: ArrayLike, values: FloatArray, score: float, budget: float | None) -> FloatArray:
    at = np.broadcast_to(np.asarray(x, dtype=np.float64), values.shape)
    # After divergence x may be unknown; such evaluations would have taken place.
    counted = trained(x, values.shape)
    if budget is not None:
        counted = counted & ~(at > check_positive(budget, "budget"))
    if not counted.any(axis=1).all():
        raise fault("aulc needs an evaluation after training began", "none", "evaluate runs")
    return _mean_over(np.where(np.isfinite(values), values, score), counted)


def _mean_over(values: FloatArray, counted: BoolArray) -> FloatArray:
    """The mean of each row over its counted values; 0 where there is none."""
    total = np.where(counted, values, 0.0).sum(axis=1)
    mean: FloatArray = total / np.maximum(counted.sum(axis=1), 1)
    return mean


def _declared(value: float | None, what: str, kind: str) -> float:
    if value is None or not np.isfinite(value):
        raise fault(f"endpoint {kind} needs a declared {what}", value, f"declare {what}")
    return float(value)
