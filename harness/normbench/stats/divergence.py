"""Divergence as a result of its own: how often, and whether one configuration does so more."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from normbench.stats.checks import (
    check_alpha,
    check_count,
    fault,
    flags,
    same_shape,
    vector,
)
from normbench.stats.compare import CONDITIONAL, SEEDS
from normbench.stats.refusals import MIN_DISCORDANT, cannot_reach, few_seeds
from normbench.stats.result import Detail, Interval, Result


def clopper_pearson(k: int, n: int, alpha: float = 0.05) -> Interval:
    """Return the exact interval for a probability after k successes in n independent runs.

    Raises:
        StatisticsError: not 0 ≤ k ≤ n with n ≥ 1, or alpha outside (0, 1).

    Source: Clopper and Pearson (1934).
    """
    from scipy.special import betaincinv

    check_count(n, "n")
    check_count(k, "k", 0)
    if k > n:
        raise fault("k must be at most n", f"{k} of {n}", "count successes among the runs")
    tail = check_alpha(alpha) / 2.0
    low = 0.0 if k == 0 else float(betaincinv(k, n - k + 1, tail))
    high = 1.0 if k == n else float(betaincinv(k + 1, n - k, 1.0 - tail))
    return low, high


def divergence_rate(diverged: ArrayLike, *, alpha: float = 0.05) -> Result:
    """Estimate the probability that a run of one configuration diverges.

    Args:
        diverged: 0/1 per seed, shape (n,).
        alpha: 1 − level of the Clopper–Pearson interval.

    Raises:
        StatisticsError: values other than 0 and 1, or alpha outside (0, 1).
    """
    runs = flags(diverged, "diverged")
    k, n = int(runs.sum()), int(runs.size)
    return Result(
        name="divergence",
        estimand="probability that a run of a new seed diverges",
        estimate=k / n,
        interval=clopper_pearson(k, n, alpha),
        level=1.0 - alpha,
        p=None,
        n=n,
        values=tuple(float(v) for v in runs),
        assumptions=(SEEDS, CONDITIONAL),
        details={"diverged": k},
    )


def mcnemar_exact_p(only_a: int, only_b: int) -> float:
    """Return the two-sided exact McNemar p from the two counts of discordant pairs.

    The null is that a discordant pair is as likely to be one kind as the other; it equals
    the flip test of the 0/1 differences.

    Raises:
        StatisticsError: a count that is negative or not whole.

    Source: McNemar (1947).
    """
    from scipy.special import bdtr

    a, b = check_count(only_a, "only_a", 0), check_count(only_b, "only_b", 0)
    return min(1.0, 2.0 * float(bdtr(min(a, b), a + b, 0.5))) if a + b else 1.0


def compare_divergence(a: ArrayLike, b: ArrayLike, *, alpha: float = 0.05) -> Result:
    """Compare how often two configurations diverge on the same seeds.

    Estimated is the share, among the seeds in which exactly one diverged, of those in which
    it was B (that favour A); under the null it is ½, two-sided. Each configuration's rate
    has its own interval in the details.

    Args:
        a, b: 0/1 per seed whether the run diverged, shape (n,), the same seeds.
        alpha: 1 − level.

    Raises:
        StatisticsError: values other than 0 and 1, shapes that differ, alpha outside (0, 1).

    Source: McNemar (1947); Clopper and Pearson (1934).
    """
    first, second = flags(a, "a"), flags(b, "b")
    same_shape(first, second, "a and b")
    n = int(first.size)
    result = discordant_share(second.astype(np.float64) - first.astype(np.float64), alpha=alpha)
    details: dict[str, Detail] = {
        **result.details,
        "both_diverged": int((first & second).sum()),
        "rate_a": float(first.mean()),
        "rate_a_interval": clopper_pearson(int(first.sum()), n, alpha),
        "rate_b": float(second.mean()),
        "rate_b_interval": clopper_pearson(int(second.sum()), n, alpha),
    }
    return replace(result, details=details)


def discordant_share(d: ArrayLike, *, alpha: float = 0.05) -> Result:
    """Estimate, from per-seed differences −1, 0 or 1, the share of the non-zero that are 1.

    Args:
        d: B's indicator of divergence minus A's, shape (n,).
        alpha: 1 − level.

    Raises:
        StatisticsError: other values, or alpha outside (0, 1).
    """
    values = vector(d, "d")
    if not np.isin(values, (-1.0, 0.0, 1.0)).all():
        raise fault("differences of divergence are −1, 0 or 1", values.tolist(), "pass 0/1 runs")
    alpha = check_alpha(alpha)
    only_a, only_b = int((values < 0).sum()), int((values > 0).sum())
    discordant, n = only_a + only_b, int(values.size)
    refusal = few_seeds(n)
    if refusal is None and discordant < MIN_DISCORDANT:
        refusal = f"{discordant} discordant pairs, McNemar's test needs {MIN_DISCORDANT}"
    refusal = refusal or cannot_reach(discordant, alpha)
    return Result(
        name="divergence compared",
        estimand="share of the seeds where only one diverged in which it was B (above ½: A better)",
        estimate=only_b / discordant if discordant else float("nan"),
        interval=None if refusal else clopper_pearson(only_b, discordant, alpha),
        level=None if refusal else 1.0 - alpha,
        p=None if refusal else mcnemar_exact_p(only_a, only_b),
        n=n,
        values=tuple(values.tolist()),
        assumptions=("labels are exchangeable within a seed under the null", SEEDS, CONDITIONAL),
        refusal=refusal,
        details={"only_a_diverged": only_a, "only_b_diverged": only_b},
    )
