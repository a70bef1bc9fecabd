"""Claims that something does not matter, made positively against a declared margin.

"Not significant" is never evidence of equality; here both one-sided tests against the
margin must reject.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from normbench.stats.checks import (
    FloatArray,
    check_alpha,
    check_positive,
    fault,
    matrix,
    reaches,
    vector,
)
from normbench.stats.compare import CONDITIONAL, SEEDS, SYMMETRY, paired_difference
from normbench.stats.flip import sign_flip_p_columns
from normbench.stats.guard import asymmetry_guard
from normbench.stats.interval import subset_mean_interval
from normbench.stats.refusals import few_seeds
from normbench.stats.result import Caveat, Interval, Result
from normbench.stats.rounding import difference


def tost(d: ArrayLike, margin: float, *, alpha: float = 0.05, claims: int = 1) -> Result:
    """Test that the mean difference lies within ±margin, by two one-sided sign flips.

    The null is that it lies at or beyond a margin; p is the larger of the one-sided p of
    d + margin and margin − d. The interval has level 1 − 2·alpha and lies strictly inside
    the margins exactly if p ≤ alpha; the one of level 1 − alpha in the details decides
    whether equivalence is refuted.

    Args:
        d: differences, shape (n,).
        margin: δ > 0 in the unit of ``d``, declared beforehand.
        alpha: level of each one-sided test.
        claims: size of the family, for the guard's level.

    Raises:
        StatisticsError: not a finite vector, a margin not above 0, alpha outside (0, ½).

    Source: Schuirmann (1987).
    """
    return equivalence(vector(d, "d")[:, None], margin, alpha=alpha, claims=claims)


def invariance(
    errors: ArrayLike,
    batch_sizes: Sequence[float],
    reference: float,
    margin: float,
    *,
    alpha: float = 0.05,
    claims: int = 1,
) -> Result:
    """Test that a metric stays within ±margin of its value at the reference batch size.

    Args:
        errors: one row per seed, one column per batch size, shape (n, K + 1).
        batch_sizes: the sizes, in the order of the columns.
        reference: the size that the others are compared with.
        margin, alpha, claims: as in ``equivalence``, which says null and assumptions.

    Raises:
        StatisticsError: shapes that do not fit, or a reference that is not among the sizes.

    Source: Berger (1982) for intersection–union; Schuirmann (1987).
    """
    table = matrix(errors, "errors")
    sizes = vector(batch_sizes, "batch_sizes")
    if sizes.size != table.shape[1] or np.unique(sizes).size != sizes.size or sizes.size < 2:
        raise fault(
            "one column per batch size, at least two different sizes",
            f"{table.shape[1]} columns, sizes {sizes.tolist()}",
            "list each size once, in the order of the columns",
        )
    at = np.flatnonzero(sizes == reference)
    if at.size == 0:
        raise fault("the reference is one of the sizes", reference, f"one of {sizes.tolist()}")
    others = np.delete(np.arange(sizes.size), at[0])
    d = difference(table[:, others], table[:, at])
    result = equivalence(d, margin, alpha=alpha, claims=claims)
    return replace(
        result,
        name="invariance to the batch size",
        estimand=(
            f"difference from batch size {reference:g} that is largest in size over the other "
            "sizes (within ± the margin: invariant)"
        ),
        details={**result.details, "batch_sizes": tuple(sizes[others].tolist())},
    )


def equivalence(d: ArrayLike, margin: float, *, alpha: float = 0.05, claims: int = 1) -> Result:
    """Test that all column means of ``d`` lie within ±margin (intersection–union).

    Null: at least one lies at or beyond a margin. Every column is tested by two one-sided
    flips at alpha; p is the largest of them and needs no further correction. Refutation:
    2·K times the smallest one-sided p beyond a margin. The interval is the hull of the
    columns' 1 − 2·alpha intervals. A column with skewness above 1 (n ≥ 10) has its interval
    widened by the bootstrap-t one.

    Args:
        d: differences, shape (n, K).
        margin: δ > 0 in the unit of ``d``.
        alpha: level of each one-sided test.
        claims: m, size of the family: the guard's intervals have level 1 − 2·alpha/m.

    Raises:
        StatisticsError: not a finite matrix, a margin not above 0, alpha outside (0, ½).

    Source: Schuirmann (1987), Berger (1982).
    """
    columns = matrix(d, "d")
    delta = check_positive(margin, "margin")
    if check_alpha(alpha) >= 0.5:
        raise fault("alpha of a one-sided test lies below ½", alpha, "use 0.05")
    n, k = columns.shape
    means = columns.mean(axis=0)
    worst = int(np.abs(means).argmax())
    result = Result(
        name="equivalence",
        estimand=f"mean difference{' that is largest in size' if k > 1 else ''} (within "
        f"±{delta:g}: equivalent)",
        estimate=float(means[worst]),
        interval=None,
        level=None,
        p=None,
        n=n,
        values=tuple(columns[:, worst].tolist()),
        assumptions=(SYMMETRY + " (here each margin)", SEEDS, CONDITIONAL),
        refusal=few_seeds(n),
        details={"margin": delta, "means": tuple(means.tolist())},
    )
    if result.refusal is None and not reaches(2.0**-n, alpha):
        result = replace(result, refusal=f"cannot reach α = {alpha:g} at this n: {n} seeds")
    if result.refusal is not None:
        return result
    sides, beyond = margin_p_values(columns, delta)
    spans = [_inside_interval(columns[:, j], delta, alpha, claims) for j in range(k)]
    hull = min(s.interval[0] for s in spans), max(s.interval[1] for s in spans)
    at = int(beyond.argmin())
    skewed = [j for j in range(k) if spans[j].guarded]
    return replace(
        result,
        interval=hull,
        level=1.0 - 2.0 * alpha,
        p=float(sides.max()),
        warnings=_skew_warnings(skewed, k),
        details={
            **result.details,
            "p_of_each": tuple(sides.tolist()),
            "p_refuted": min(1.0, 2.0 * k * float(beyond.min())),
            "refutation_interval": _beyond_interval(columns[:, at], means[at], delta, alpha / k),
            "refutation_level": 1.0 - alpha / k,
        },
    )


def margin_p_values(d: ArrayLike, margin: float) -> tuple[FloatArray, FloatArray]:
    """Return, per column of ``d``, the p of lying inside ±margin and that of lying beyond.

    Inside: the larger of the two one-sided p against the margins. Beyond: the smaller of
    the two one-sided p of being past a margin, not yet corrected for two sides and K
    columns. Both have shape (K,).

    Raises:
        StatisticsError: not a finite matrix, or a margin not above 0.
    """
    columns, delta = matrix(d, "d"), check_positive(margin, "margin")
    above, below = difference(columns, -delta), difference(columns, delta)
    inside = np.maximum(
        sign_flip_p_columns(above, "greater"),
        sign_flip_p_columns(below, "less"),
    )
    beyond = np.minimum(
        sign_flip_p_columns(below, "greater"),
        sign_flip_p_columns(above, "less"),
    )
    return inside, beyond


def noninferiority(
    d: ArrayLike, margin: float, *, alpha: float = 0.05, diverged: int = 0
) -> Result:
    """Test whether A is worse than B by less than the margin: two-sided flip of d + margin.

    Args:
        d: differences, shape (n,), positive where A is better.
        margin: δ > 0 in the unit of ``d``; the null is a mean of −δ.
        alpha: 1 − level.
        diverged: number of diverged runs among both.

    Raises:
        StatisticsError: not a finite vector, a margin not above 0, alpha outside (0, 1).
    """
    return paired_difference(
        d,
        null=-check_positive(margin, "margin"),
        alpha=alpha,
        diverged=diverged,
        name="non-inferiority",
        estimand=f"mean difference (above −{margin:g}: A is not inferior to B)",
    )


@dataclass(frozen=True)
class _Span:
    interval: Interval
    guarded: bool


def _inside_interval(d: FloatArray, margin: float, alpha: float, claims: int) -> _Span:
    """Return the 1 − 2·alpha interval, reconciled with the test at both margins."""
    interval = subset_mean_interval(d, 2.0 * alpha, null=(-margin, margin))
    guard = asymmetry_guard(d, 2.0 * alpha / claims)
    return _Span(guard.hull(_open(interval)), guard.active)


def _beyond_interval(d: FloatArray, mean: float, margin: float, alpha: float) -> Interval:
    interval = subset_mean_interval(d, alpha, null=float(np.copysign(margin, mean)))
    return asymmetry_guard(d, alpha).hull(_open(interval))


def _open(interval: Interval | None) -> Interval:
    return (-np.inf, np.inf) if interval is None else interval


def _skew_warnings(skewed: list[int], k: int) -> tuple[Caveat, ...]:
    if not skewed:
        return ()
    which = "the differences are" if k == 1 else f"{len(skewed)} of {k} columns are"
    text = f"{which} skewed: the interval there is the hull with a bootstrap-t interval"
    return (Caveat("skewed", text),)
