"""How much a norm loses as the batch shrinks, and from which batch size on it does not.

Per seed the differences at several batch sizes become one number, so seed effects cancel
and the default comparison applies unchanged.
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
    check_goal,
    fault,
    matrix,
    reaches,
    same_shape,
    vector,
)
from normbench.stats.compare import CONDITIONAL, SEEDS, SYMMETRY, paired_difference
from normbench.stats.flip import sign_flip_p_columns
from normbench.stats.refusals import few_seeds
from normbench.stats.result import Caveat, Result
from normbench.stats.rounding import settled

GRID_STEP = 1.0 / 16.0


def inverse_batch_weights(batch_sizes: Sequence[float]) -> FloatArray:
    """Return w_b = (1/b − mean 1/b) / Σ(1/b − mean 1/b)², shape (K,): the slope in 1/b.

    Raises:
        StatisticsError: fewer than two sizes, a repeated size, or one that is not positive.
    """
    sizes = _batch_sizes(batch_sizes)
    centred: FloatArray = 1.0 / sizes - (1.0 / sizes).mean()
    return centred / float(centred @ centred)


def inverse_batch_contrast(
    questioned: ArrayLike,
    reference: ArrayLike,
    batch_sizes: Sequence[float],
    *,
    goal: Goal = "min",
    alpha: float = 0.05,
    null: float = 0.0,
    diverged: int = 0,
    labels: tuple[str, str] = ("the norm in question", "the reference"),
) -> Result:
    """Estimate how much more one norm loses than another from the largest to the smallest batch.

    Per seed, c = Σ_b w_b·d_b with d_b the loss of the norm in question minus that of the
    reference and w the slope weights in 1/b; reported is c·(1/b_min − 1/b_max), the fitted
    extra loss in the unit of the metric, and likewise ``null``. The null is that this is
    symmetric about ``null``; the alternative is two-sided; positive: the norm in question
    loses more. The plain difference in differences between the end sizes stands beside it.

    Args:
        questioned, reference: one row per seed, one column per batch size, shape (n, K).
        batch_sizes: the K sizes, in the order of the columns.
        goal: ``"min"`` for an error or loss, ``"max"`` for an accuracy.
        alpha: 1 − level.
        null: the extra loss under the null.
        diverged: number of diverged runs among all; below 20 seeds any marks fragile.
        labels: names for the sentences.

    Raises:
        StatisticsError: shapes or sizes that do not fit, or values not finite.

    Source: Barr et al. (2013) on random slopes.
    """
    sizes = _batch_sizes(batch_sizes)
    sides = _sides(questioned, reference, sizes, goal)
    contrast = contrast_of(sides, sizes.tolist())
    span = float(1.0 / sizes.min() - 1.0 / sizes.max())
    smallest, largest = int(sizes.argmin()), int(sizes.argmax())
    ends = settled([*(s[:, smallest] for s in sides), *(-s[:, largest] for s in sides)])
    low, high = sizes.min(), sizes.max()
    result = paired_difference(
        contrast * span,
        alpha=alpha,
        null=null,
        diverged=diverged,
        name="inverse-batch contrast",
        estimand=(
            f"fitted extra loss of {labels[0]} over {labels[1]} as the batch shrinks from "
            f"{high:g} to {low:g} (positive: {labels[0]} loses more)"
        ),
    )
    plain = paired_difference(ends, alpha=alpha, null=null)
    details = {
        **result.details,
        "slope_mean": float(contrast.mean()),
        "slope_values": tuple(float(c) for c in contrast),
        "difference_in_differences": plain.estimate,
        "difference_in_differences_interval": plain.interval,
        "difference_in_differences_p": plain.p,
    }
    return replace(result, details=details)


@dataclass(frozen=True)
class _Curve:
    """Mean difference and flip p-value over the grid of log₂ batch sizes."""

    x: FloatArray
    mean: FloatArray
    p: FloatArray


def crossover_batch_size(
    questioned: ArrayLike,
    reference: ArrayLike,
    batch_sizes: Sequence[float],
    *,
    goal: Goal = "min",
    alpha: float = 0.05,
    by_at_least: float = 0.0,
) -> Result:
    """Estimate from which batch size on one norm is no longer worse than another.

    Each seed's difference is interpolated linearly in log₂ b. The estimate is the smallest
    grid size at which the mean difference is at most ``by_at_least``; the interval is the
    hull of the sizes at which the two-sided flip test does not reject, extended to 0
    ("below the smallest size") and ∞ ("above the largest") unless the ends are decided in
    the matching direction. The target is the crossing of the interpolated mean curve; no
    monotonicity is assumed. Without a crossing the estimate is ∞. No p-value: a batch size
    is estimated, not tested.

    Args:
        questioned, reference: shape (n, K), one row per seed, one column per batch size.
        batch_sizes: the K sizes, in the order of the columns.
        goal: ``"min"`` for an error or loss, ``"max"`` for an accuracy.
        alpha: 1 − level.
        by_at_least: the difference δ that still counts as no longer worse; a negative one
            asks from where on the norm in question is better by −δ.

    Raises:
        StatisticsError: shapes or sizes that do not fit, or values not finite.
    """
    sizes = _batch_sizes(batch_sizes)
    sides = _sides(questioned, reference, sizes, goal)
    d = settled([*sides, np.full(sides[0].shape, -float(by_at_least))])
    alpha = check_alpha(alpha)
    order = np.argsort(sizes)
    sizes, d = sizes[order], d[:, order]
    refusal = few_seeds(len(d))
    grid, columns = _interpolated(d, np.log2(sizes))
    mean = columns.mean(axis=0)
    below = np.flatnonzero(mean <= 0.0)
    estimate = float(2.0 ** grid[below[0]]) if below.size else float("inf")
    interval = None
    if refusal is None:
        interval = _crossover_interval(_Curve(grid, mean, sign_flip_p_columns(columns)), alpha)
    return Result(
        name="crossover batch size",
        estimand=(
            "smallest batch size from which on the norm in question is no longer worse "
            f"than the reference by more than {by_at_least:g}"
        ),
        estimate=estimate,
        interval=interval,
        level=None if interval is None else 1.0 - alpha,
        p=None,
        n=len(d),
        assumptions=(SYMMETRY + " at the crossing", SEEDS, CONDITIONAL),
        warnings=_crossover_warnings(interval, estimate, sizes),
        refusal=refusal,
        details={
            "batch_sizes": tuple(float(b) for b in sizes),
            "mean_differences": tuple(float(v) for v in d.mean(axis=0) + by_at_least),
        },
    )


def _crossover_interval(curve: _Curve, alpha: float) -> tuple[float, float]:
    rejected = np.array([reaches(float(p), alpha) for p in curve.p])
    open_sizes = curve.x[~rejected]
    if open_sizes.size:
        low, high = float(open_sizes[0]), float(open_sizes[-1])
    else:
        # Every grid size is decided: the crossings lie between sizes of opposite sign.
        turns = np.flatnonzero(np.diff(np.sign(curve.mean)) != 0)
        # Without one they lie beyond the end towards which the difference is decided.
        beyond = float(curve.x[-1] if curve.mean[0] > 0 else curve.x[0])
        low = float(curve.x[turns[0]]) if turns.size else beyond
        high = float(curve.x[turns[-1] + 1]) if turns.size else beyond
    ends = 2.0**low, 2.0**high
    if not (rejected[0] and curve.mean[0] > 0):
        ends = 0.0, ends[1]
    if not (rejected[-1] and curve.mean[-1] < 0):
        ends = ends[0], float("inf")
    return ends


def _crossover_warnings(
    interval: tuple[float, float] | None, estimate: float, sizes: FloatArray
) -> tuple[Caveat, ...]:
    found = []
    if np.isinf(estimate):
        text = f"no crossing up to the largest size tested, {sizes[-1]:g}"
        found.append(Caveat("no-crossing", text))
    if interval is not None and interval[0] == 0.0:
        text = f"the interval is open below: < {sizes[0]:g}, the smallest size tested"
        found.append(Caveat("open-below", text))
    if interval is not None and np.isinf(interval[1]):
        text = f"the interval is open above: > {sizes[-1]:g}, the largest size tested"
        found.append(Caveat("open-above", text))
    return tuple(found)


def _interpolated(d: FloatArray, x: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the grid in log₂ b and every seed's difference on it."""
    steps = np.arange(x[0], x[-1], GRID_STEP)
    grid = np.unique(np.concatenate([steps, x]))
    # A size that is a grid point up to rounding stands once.
    grid = grid[np.concatenate([[True], np.diff(grid) > 1e-9])]
    left = np.clip(np.searchsorted(x, grid, side="right") - 1, 0, x.size - 2)
    share = (grid - x[left]) / (x[left + 1] - x[left])
    return grid, settled([d[:, left] * (1.0 - share), d[:, left + 1] * share])


def _batch_sizes(batch_sizes: Sequence[float]) -> FloatArray:
    sizes = vector(batch_sizes, "batch_sizes")
    if sizes.size < 2 or np.unique(sizes).size != sizes.size or (sizes <= 0).any():
        raise fault(
            "batch_sizes must be at least two different positive sizes",
            sizes.tolist(),
            "list each size once, in the order of the columns",
        )
    return sizes


def contrast_of(terms: Sequence[FloatArray], batch_sizes: Sequence[float]) -> FloatArray:
    """Return per seed the slope in 1/b of a sum of terms, shape (n, K) each; 0 where rounding."""
    weights = inverse_batch_weights(batch_sizes)
    return settled(np.concatenate([term * weights for term in terms], axis=1), axis=1)


def _sides(
    questioned: ArrayLike, reference: ArrayLike, sizes: FloatArray, goal: Goal
) -> tuple[FloatArray, FloatArray]:
    """Return two terms, (n, K) each, of what the norm in question loses over the reference."""
    first, second = matrix(questioned, "questioned"), matrix(reference, "reference")
    same_shape(first, second, "questioned and reference")
    if first.shape[1] != sizes.size:
        raise fault(
            "one column per batch size",
            f"{first.shape[1]} columns, {sizes.size} sizes",
            "give the sizes in the order of the columns",
        )
    return check_goal(goal) * first, -check_goal(goal) * second
