"""Summaries and comparisons of restricted times to a threshold.

Every run has a fully observed restricted time, so means of it are plain means; positive
differences and ratios below 1 both say that A is faster.
"""

from __future__ import annotations

from dataclasses import replace
from math import comb

import numpy as np
from numpy.typing import ArrayLike

from normbench.stats.checks import (
    BoolArray,
    FloatArray,
    check_alpha,
    check_positive,
    fault,
    flags,
    reaches,
    same_shape,
    vector,
)
from normbench.stats.compare import CONDITIONAL, SEEDS, paired_difference, seed_correlation
from normbench.stats.divergence import clopper_pearson
from normbench.stats.guard import bootstrap_t_interval
from normbench.stats.interval import subset_ratio_interval
from normbench.stats.refusals import few_seeds
from normbench.stats.result import Result
from normbench.stats.rounding import difference, log_ratio


def restricted_mean_difference(
    r_a: ArrayLike,
    r_b: ArrayLike,
    *,
    budget: float,
    alpha: float = 0.05,
    null: float = 0.0,
    diverged: int = 0,
    unit: str = "epochs",
) -> Result:
    """Estimate E[R_B] − E[R_A], the restricted mean time that A saves; positive: A faster.

    The null is that the within-seed difference is symmetric about ``null``, two-sided. All
    censoring is at the budget, where the area under Kaplan–Meier equals the mean of R.

    Args:
        r_a, r_b: restricted times of the same seeds, shape (n,), in ``unit``.
        budget: the common budget E, in ``unit``.
        alpha: 1 − level.
        null: time saved under the null.
        diverged: number of diverged runs among both; below 20 seeds any marks fragile.
        unit: name of the unit, for the sentence.

    Raises:
        StatisticsError: shapes differ, or a time below 0 or above the budget.

    Source: Royston and Parmar (2013); Horiguchi and Uno (2020).
    """
    a, b = _times(r_a, r_b, budget)
    result = paired_difference(
        difference(b, a),
        alpha=alpha,
        null=null,
        diverged=diverged,
        name="restricted mean time saved",
        estimand=(
            f"mean over seeds of B minus A in time to the threshold, restricted to {budget:g} "
            f"{unit} (positive: A is faster)"
        ),
        seed_correlation=seed_correlation(a, b),
    )
    means = {"mean_a": float(a.mean()), "mean_b": float(b.mean())}
    return replace(result, details={**result.details, **means})


def geometric_ratio(
    r_a: ArrayLike, r_b: ArrayLike, *, budget: float, alpha: float = 0.05, diverged: int = 0
) -> Result:
    """Estimate the geometric mean over seeds of R_A/R_B; below 1: A faster.

    Flip test on log(R_A/R_B), symmetric about 0 under the null, two-sided; the interval is
    the exponential of the inverted one. For times in seconds this is the analysis to use.

    Args:
        r_a, r_b: restricted times of the same seeds, shape (n,), above 0.
        budget: the common budget.
        alpha: 1 − level.
        diverged: number of diverged runs among both.

    Raises:
        StatisticsError: shapes differ, or a time not above 0 or above the budget.
    """
    a, b = _times(r_a, r_b, budget)
    _positive(a, b, "a geometric ratio")
    logs = paired_difference(
        log_ratio(a, b), alpha=alpha, diverged=diverged, seed_correlation=seed_correlation(a, b)
    )
    details = {k: v for k, v in logs.details.items() if k not in ("mean", "null")}
    for key in ("flip_interval", "bootstrap_t_interval"):
        pair = details.get(key)
        if isinstance(pair, tuple):
            details[key] = _exponential((float(pair[0]), float(pair[1])))
    details["scale"] = "sd, effect size and skewness are those of log(R_A/R_B)"
    return replace(
        logs,
        name="geometric ratio of restricted times",
        estimand="geometric mean over seeds of R_A / R_B (below 1: A is faster)",
        estimate=float(np.exp(logs.estimate)),
        interval=None if logs.interval is None else _exponential(logs.interval),
        values=tuple(float(v) for v in a / b),
        details=details,
    )


def ratio_of_means(
    r_a: ArrayLike, r_b: ArrayLike, *, budget: float, alpha: float = 0.05, diverged: int = 0
) -> Result:
    """Estimate E[R_A]/E[R_B]; below 1: A faster.

    The interval holds every ρ that the flip test of R_A − ρ·R_B keeps; p is that of ρ = 1,
    two-sided. With skewed differences the bootstrap-t test of R_A − ρ·R_B is inverted too
    and the hull of both is given.

    Args:
        r_a, r_b: restricted times of the same seeds, shape (n,), above 0.
        budget: the common budget.
        alpha: 1 − level.
        diverged: number of diverged runs among both.

    Raises:
        StatisticsError: shapes differ, or a time not above 0 or above the budget.
    """
    a, b = _times(r_a, r_b, budget)
    _positive(a, b, "a ratio of means")
    base = paired_difference(
        difference(b, a), alpha=alpha, diverged=diverged, seed_correlation=seed_correlation(a, b)
    )
    interval = None
    details = {k: v for k, v in base.details.items() if k not in ("mean", "null")}
    details["scale"] = "sd, effect size and skewness are those of R_B − R_A"
    if base.interval is not None:
        interval = subset_ratio_interval(a, b, alpha)
        guarded = "bootstrap_t_interval" in details
        details.pop("flip_interval", None)
        details.pop("bootstrap_t_interval", None)
        if interval is not None and guarded:
            details["flip_interval"] = interval
            second = _guarded_ratios(a, b, alpha)
            details["bootstrap_t_interval"] = second
            interval = min(interval[0], second[0]), max(interval[1], second[1])
    return replace(
        base,
        name="ratio of restricted means",
        estimand="mean of R_A divided by mean of R_B (below 1: A is faster)",
        estimate=float(a.mean() / b.mean()),
        interval=interval,
        values=tuple(float(v) for v in a / b),
        details=details,
    )


def fraction_reached(reached: ArrayLike, *, alpha: float = 0.05) -> Result:
    """Estimate the probability that a new seed reaches the threshold within the budget.

    Args:
        reached: 0/1 per seed, shape (n,); a run that diverged before did not reach it.
        alpha: 1 − level of the Clopper–Pearson interval (exact, conservative).

    Raises:
        StatisticsError: values other than 0 and 1, or alpha outside (0, 1).
    """
    runs = flags(reached, "reached")
    k, n = int(runs.sum()), int(runs.size)
    return Result(
        name="fraction reached",
        estimand="probability that a new seed reaches the threshold within the budget",
        estimate=k / n,
        interval=clopper_pearson(k, n, alpha),
        level=1.0 - alpha,
        p=None,
        n=n,
        values=tuple(float(v) for v in runs),
        assumptions=(SEEDS, CONDITIONAL),
        details={"reached": k},
    )


def median_time(times: ArrayLike, *, alpha: float = 0.05) -> Result:
    """Estimate the median time to the threshold, a run that never reaches it counting as ∞.

    The interval runs from the k-th smallest to the k-th largest time, k the largest with
    P(Bin(n, ½) < k) ≤ alpha/2; its actual confidence is given. It holds for independent
    seeds of any distribution. No test.

    Args:
        times: shape (n,), ∞ (never NaN) for a run that did not reach the threshold.
        alpha: 1 − level.

    Raises:
        StatisticsError: NaN or negative times, none at all, or alpha outside (0, 1).
    """
    alpha = check_alpha(alpha)
    values = np.asarray(times, dtype=np.float64)
    if values.ndim != 1 or values.size == 0 or np.isnan(values).any() or (values < 0).any():
        raise fault("times must be at least 0, ∞ for never", times, "one time per seed")
    ordered, n = np.sort(values), int(values.size)
    k, tail = _order_statistic(n, alpha)
    refusal = few_seeds(n)
    if refusal is None and k == 0:
        refusal = f"cannot reach {1 - alpha:.3g} confidence at this n: {n} seeds"
    middle = float(ordered[(n - 1) // 2]), float(ordered[n // 2])
    interval = None if refusal else (float(ordered[k - 1]), float(ordered[n - k]))
    return Result(
        name="median time to the threshold",
        estimand="median over new seeds of the time to the threshold (∞: never reached)",
        estimate=middle[0] if middle[0] == middle[1] else sum(middle) / 2.0,
        interval=interval,
        level=None if refusal else 1.0 - alpha,
        p=None,
        n=n,
        values=tuple(float(v) for v in values),
        assumptions=(SEEDS, CONDITIONAL),
        refusal=refusal,
        details={"order_statistic": k, "confidence": None if refusal else 1.0 - 2.0 * tail},
    )


def _order_statistic(n: int, alpha: float) -> tuple[int, float]:
    """Return the largest k with P(Bin(n, ½) < k) ≤ alpha/2, and that probability."""
    k, tail, following = 0, 0.0, 0.5**n
    while k < n // 2 and reaches(tail + following, alpha / 2.0):
        k, tail = k + 1, tail + following
        following = comb(n, k) * 0.5**n
    return k, tail


def _guarded_ratios(a: FloatArray, b: FloatArray, alpha: float) -> tuple[float, float]:
    """Invert the bootstrap-t test of a − ρ·b in ρ, outwards from the ratio of the means."""
    centre = float(a.mean() / b.mean())

    def kept(rho: float) -> bool:
        low, high = bootstrap_t_interval(difference(a, rho * b), alpha)
        return low <= 0.0 <= high

    def end(factor: float) -> float:
        inner, outer = centre, centre * factor
        for _ in range(40):
            if not kept(outer):
                break
            inner, outer = outer, outer * factor
        else:
            return 0.0 if factor < 1.0 else float("inf")
        for _ in range(40):
            middle = (inner * outer) ** 0.5
            inner, outer = (middle, outer) if kept(middle) else (inner, middle)
        return inner

    return end(0.5), end(2.0)


def _exponential(interval: tuple[float, float]) -> tuple[float, float]:
    return float(np.exp(interval[0])), float(np.exp(interval[1]))


def _times(r_a: ArrayLike, r_b: ArrayLike, budget: float) -> tuple[FloatArray, FloatArray]:
    a, b = vector(r_a, "r_a"), vector(r_b, "r_b")
    same_shape(a, b, "r_a and r_b")
    limit = check_positive(budget, "budget") * (1.0 + 1e-9)
    outside: BoolArray = (a < 0) | (b < 0) | (a > limit) | (b > limit)
    if outside.any():
        raise fault(
            "restricted times lie between 0 and the budget",
            f"{int(outside.sum())} seeds outside 0 to {budget:g}",
            "take them from restricted_time with the same budget",
        )
    return a, b


def _positive(a: FloatArray, b: FloatArray, what: str) -> None:
    if (a <= 0).any() or (b <= 0).any():
        raise fault(
            f"{what} needs times above 0",
            f"{int((a <= 0).sum() + (b <= 0).sum())} times of 0",
            "choose a threshold that no run meets before training, or use the difference",
        )
