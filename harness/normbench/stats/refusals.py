"""When the numbers may not be used: too few seeds, too few differences, missing runs.

A refusal is a sentence for the reader; ``None`` means that nothing speaks against going on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from normbench.stats.checks import (
    MIN_SEEDS,
    P_SLACK,
    BoolArray,
    FloatArray,
    check_alpha,
    check_count,
    fault,
    matrix,
)
from normbench.stats.flip import TOLERANCE
from normbench.stats.result import Caveat

Correction = Literal["max-t", "holm"]

MIN_DISCORDANT = 6
MOST_LOST = 0.1
"""Share of the seeds that may be lost to missing runs (and always one seed)."""


def few_seeds(n: int) -> str | None:
    """Refuse fewer than 6 seeds: no p-value and no flip interval."""
    if n >= MIN_SEEDS:
        return None
    return f"{n} seeds, at least {MIN_SEEDS} are needed for a p-value or a flip interval"


def count_nonzero(d: FloatArray) -> int:
    """Count the differences that are not 0 up to rounding; only those can carry evidence."""
    return int(np.count_nonzero(np.abs(d) > TOLERANCE * float(np.abs(d).max(initial=0.0))))


def cannot_reach(
    n_nonzero: int, alpha: float, claims: int = 1, correction: Correction = "holm"
) -> str | None:
    """Refuse a two-sided test whose smallest possible p-value, 2^(1−n₀), is above its level.

    The level is alpha/claims under Holm and alpha under max-T.

    Raises:
        StatisticsError: alpha outside (0, 1), or fewer than one claim.
    """
    level = check_alpha(alpha)
    if correction == "holm":
        level /= check_count(claims, "claims")
    least = min(2.0 ** (1 - n_nonzero), 1.0)
    if least <= level + P_SLACK:
        return None
    return (
        f"cannot reach α = {level:.3g} at this n: {n_nonzero} differences off the null value "
        f"allow no p-value below {least:.3g}"
    )


def minimum_seeds(
    alpha: float = 0.05,
    claims: int = 1,
    correction: Correction = "holm",
    *,
    sided: Literal[1, 2] = 2,
) -> int:
    """Return the least n at which a flip test can reach its level at all (arithmetic only).

    Two-sided 2^(1−n), one-sided 2^−n, against alpha/claims under Holm and alpha under
    max-T. The rule of 6 seeds comes on top.

    Raises:
        StatisticsError: alpha outside (0, 1), fewer than one claim, or sided not 1 or 2.
    """
    if sided not in (1, 2):
        raise fault("sided must be 1 or 2", sided, "use 2")
    level = check_alpha(alpha)
    if correction == "holm":
        level /= check_count(claims, "claims")
    n = 1
    while sided * 2.0**-n > level + P_SLACK:
        n += 1
    return n


@dataclass(frozen=True)
class Blocks:
    """Which seeds and which configurations a family can use.

    Attributes:
        seeds: True for the seeds (rows) kept.
        kept: True for the configurations (columns) kept.
        notes: what was excluded, for the reader.
        refusal: why the family cannot be judged; None if it can.
        exploratory: True if a configuration was dropped for all.
    """

    seeds: BoolArray
    kept: BoolArray
    notes: tuple[Caveat, ...]
    refusal: str | None
    exploratory: bool


def complete_blocks(
    values: ArrayLike, names: Sequence[str], seeds: Sequence[int] | None = None
) -> Blocks:
    """Find the seeds that hold a run of every configuration of a family.

    A configuration missing in more than half of the seeds is a missing cell: it is named
    and dropped for all, and what remains is exploratory. Then a seed with any missing run
    is excluded for the whole family; losing more than max(1, 10 %) of the seeds refuses.

    Args:
        values: shape (n, configurations); NaN marks a missing run. Diverged runs are not
            missing: they carry their failure score.
        names: the configurations' names.
        seeds: the seeds' names, for the notes; 0..n−1 if left out.

    Raises:
        StatisticsError: not a matrix, an infinite value, or names of another number.
    """
    table = matrix(values, "values", finite=False)
    if np.isinf(table).any():
        raise fault(
            "a missing run is NaN and every other value is finite",
            f"{int(np.isinf(table).sum())} infinite values",
            "give diverged runs their failure score",
        )
    n, m = table.shape
    if len(names) != m:
        raise fault("one name per configuration", f"{len(names)} for {m}", "name each column")
    labels = list(range(n)) if seeds is None else list(seeds)
    if len(labels) != n:
        raise fault("one name per seed", f"{len(labels)} for {n}", "name each row")
    missing = np.isnan(table)
    kept: BoolArray = np.asarray(missing.mean(axis=0) <= 0.5)
    notes = [
        Caveat(
            "seeds-left-out",
            f"{names[j]} is missing in {int(missing[:, j].sum())} of {n} seeds: a missing cell, "
            "dropped for all; the rest is exploratory",
        )
        for j in np.flatnonzero(~kept).tolist()
    ]
    rows: BoolArray = np.asarray(~missing[:, kept].any(axis=1))
    lost = int(n - rows.sum())
    refusal = None
    if not kept.any():
        refusal = "every configuration is missing in most seeds"
    elif lost:
        listed = ", ".join(str(labels[i]) for i in np.flatnonzero(~rows))
        text = f"seeds excluded for the whole family because a run is missing: {listed}"
        notes.append(Caveat("seeds-left-out", text))
        if lost > max(1.0, MOST_LOST * n):
            refusal = f"{lost} of {n} seeds lack a run, at most max(1, 10 %) may be lost"
    return Blocks(rows, kept, tuple(notes), refusal, bool((~kept).any()))
