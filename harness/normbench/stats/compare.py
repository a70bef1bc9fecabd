"""The default comparison of two configurations over the same seeds.

Exact flip test, inverted interval, asymmetry guard, refusals and the marks that belong
beside a mean, in one call.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from normbench.stats.checks import (
    FloatArray,
    Goal,
    check_alpha,
    check_count,
    check_goal,
    flags,
    same_shape,
    vector,
)
from normbench.stats.flip import EXACT_LIMIT, sign_flip_p
from normbench.stats.guard import FRAGILE_BELOW, asymmetry_guard, skewness
from normbench.stats.interval import subset_mean_interval, t_interval
from normbench.stats.refusals import cannot_reach, count_nonzero, few_seeds
from normbench.stats.result import Caveat, Detail, Result
from normbench.stats.rounding import constant, difference

SYMMETRY = (
    "the differences are symmetric about the null value, which labels exchangeable within a "
    "seed imply"
)
SEEDS = "seeds are independent; the inference is to new seeds on the same task"
CONDITIONAL = "conditional on the learning rates chosen and on the validation set"


def paired(
    a: ArrayLike,
    b: ArrayLike,
    *,
    goal: Goal,
    alpha: float = 0.05,
    null: float = 0.0,
    diverged_a: ArrayLike | None = None,
    diverged_b: ArrayLike | None = None,
    labels: tuple[str, str] = ("A", "B"),
    metric: str = "metric",
    normal_interval: bool = False,
) -> Result:
    """Compare two configurations run on the same seeds; positive means A is better.

    The null is that the within-seed difference is symmetric about ``null``; the
    alternative is two-sided. Diverged runs take part with their failure score, never
    censored and never dropped.

    Args:
        a, b: one value per seed, shape (n,), the same seeds in the same order.
        goal: ``"min"`` if smaller values are better, else ``"max"``.
        alpha: 1 − level.
        null: the difference under the null, in the unit of the metric.
        diverged_a, diverged_b: which runs diverged, shape (n,); with any and fewer than 20
            seeds the result is marked fragile.
        labels: names of A and B for the sentences.
        metric: name of the metric for the sentences.
        normal_interval: also give Student's interval, labelled "assumes normality".

    Raises:
        StatisticsError: shapes differ, values not finite, unknown goal, alpha outside (0, 1).

    Source: Hartigan (1969), Pagano and Tritchler (1983).
    """
    first, second = vector(a, "a"), vector(b, "b")
    same_shape(first, second, "a and b")
    sign = check_goal(goal)
    winner, rival = labels
    better = f"{rival} minus {winner}" if goal == "min" else f"{winner} minus {rival}"
    result = paired_difference(
        sign * difference(second, first),
        alpha=alpha,
        null=null,
        estimand=f"mean over seeds of {better} in {metric} (positive: {labels[0]} is better)",
        seed_correlation=seed_correlation(first, second),
        normal_interval=normal_interval,
    )
    if diverged_a is None and diverged_b is None:
        return result
    shares: dict[str, Detail] = {}
    total = 0
    for label, given in zip(labels, (diverged_a, diverged_b), strict=True):
        runs = flags(np.zeros(first.size) if given is None else given, f"diverged_{label}")
        same_shape(runs, first, f"diverged_{label} and the values")
        total += int(runs.sum())
        shares[f"diverged_{label}"] = f"{int(runs.sum())} of {runs.size}"
    result = replace(result, details={**result.details, **shares})
    return mark_fragile(result, total)


def paired_difference(
    d: ArrayLike,
    *,
    alpha: float = 0.05,
    null: float = 0.0,
    name: str = "paired sign-flip comparison",
    estimand: str = "mean over seeds of the difference (positive: A is better)",
    seed_correlation: float | None = None,
    diverged: int = 0,
    normal_interval: bool = False,
) -> Result:
    """Test and estimate the mean of paired differences with everything the default asks for.

    Below 6 seeds, or with too few differences off the null to reach alpha, the result is a
    refusal: values and estimate, no p and no interval. With skewness above 1 and n ≥ 10
    the interval is the hull of the inverted test and the bootstrap-t interval, and only
    ``Result.excludes(null)`` together with p ≤ alpha is a finding.

    Args:
        d: differences, shape (n,), positive where A is better.
        alpha: 1 − level.
        null: the value that d is symmetric about under the null (two-sided alternative).
        name, estimand: what the result calls itself.
        seed_correlation: correlation of the two configurations over seeds, if known.
        diverged: number of diverged runs among both; any below 20 seeds marks fragile.
        normal_interval: also give Student's interval, labelled "assumes normality".

    Raises:
        StatisticsError: not a finite vector, or alpha outside (0, 1).
    """
    values = vector(d, "d")
    alpha = check_alpha(alpha)
    n = values.size
    details = _description(values, null, seed_correlation)
    if normal_interval and n >= 2:
        details["t_interval"] = t_interval(values, alpha)
        details["t_interval_note"] = "assumes normality"
    refusal = few_seeds(n) or cannot_reach(count_nonzero(difference(values, null)), alpha)
    result = Result(
        name=name,
        estimand=estimand,
        estimate=float(values.mean()),
        interval=None,
        level=None,
        p=None,
        n=n,
        values=tuple(float(v) for v in values),
        assumptions=(SYMMETRY, SEEDS, CONDITIONAL),
        refusal=refusal,
        details=details,
    )
    if refusal is None:
        result = _inferred(result, values, alpha, null)
    return mark_fragile(result, check_count(diverged, "diverged", 0))


def seed_correlation(a: ArrayLike, b: ArrayLike) -> float | None:
    """Return the correlation of two configurations over seeds; None if one is constant.

    Raises:
        StatisticsError: shapes differ or values are not finite.
    """
    first, second = vector(a, "a"), vector(b, "b")
    same_shape(first, second, "a and b")
    x, y = first - first.mean(), second - second.mean()
    size = float(np.sqrt((x @ x) * (y @ y)))
    rounding = 1e-24 * first.size * float(np.abs(first).max() * np.abs(second).max())
    return float(np.clip(x @ y / size, -1.0, 1.0)) if size > rounding else None


def mark_fragile(result: Result, diverged: int) -> Result:
    """Mark a claim about a mean as fragile if runs diverged and seeds are fewer than 20."""
    if diverged == 0:
        return result
    text = f"{diverged} runs diverged and count with their failure score"
    caveats = [Caveat("diverged", text)]
    fragile = result.n < FRAGILE_BELOW
    if fragile:
        text = (
            f"fragile: with {result.n} seeds (fewer than {FRAGILE_BELOW}) a mean over "
            "failures can mislead, see the divergence beside it"
        )
        caveats.append(Caveat("fragile", text))
    return replace(
        result,
        warnings=(*result.warnings, *caveats),
        details={**result.details, "fragile": fragile},
    )


def _inferred(result: Result, d: FloatArray, alpha: float, null: float) -> Result:
    interval = subset_mean_interval(d, alpha, null=null)
    if interval is None:
        short = f"cannot reach α = {alpha:g} at this n: {d.size} seeds give no flip interval"
        return replace(result, refusal=short)
    details, caveats = dict(result.details), list[Caveat]()
    guard = asymmetry_guard(d, alpha)
    if guard.interval is not None:
        details["flip_interval"] = interval
        details["bootstrap_t_interval"] = guard.interval
        interval = guard.hull(interval)
        text = (
            f"the differences are skewed ({guard.skewness:.2g}): the interval is the hull of "
            "the inverted test and a bootstrap-t interval, and a finding needs both"
        )
        caveats.append(Caveat("skewed", text))
    if d.size > EXACT_LIMIT:
        text = "p and interval use 99,999 drawn sign patterns with a fixed seed"
        caveats.append(Caveat("drawn-signs", text))
    shifted = difference(d, null)
    zeros = d.size - count_nonzero(shifted)
    if zeros:
        text = (
            f"{zeros} of {d.size} differences equal the null value: ties cost power; prefer "
            "a finer metric or a larger validation set"
        )
        caveats.append(Caveat("ties", text))
    return replace(
        result,
        interval=interval,
        level=1.0 - alpha,
        p=sign_flip_p(shifted),
        warnings=tuple(caveats),
        details=details,
    )


def _description(d: FloatArray, null: float, correlation: float | None) -> dict[str, Detail]:
    sd = (0.0 if constant(d) else float(d.std(ddof=1))) if d.size > 1 else None
    mean = float(d.mean())
    return {
        "mean": mean,
        "sd": sd,
        "effect_size_d_z": (mean - null) / sd if sd else None,
        "null": null,
        "n_nonzero": count_nonzero(difference(d, null)),
        "skewness": skewness(d),
        "seed_correlation": correlation,
    }
