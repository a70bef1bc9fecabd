"""What is said of an experiment without having been declared: all of it under one error rate.

Half of the rate is for the pairs of norms at every batch size, a quarter for how much more each
norm loses than the reference as the batch shrinks, and a quarter for the batch sizes from which on
a norm stays within a declared difference of the reference. What is read off decided pairs, such as
the norms that may be best, costs nothing more.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from normbench.stats.checks import (
    FloatArray,
    check_alpha,
    check_count,
    check_positive,
    fault,
    matrix,
    reaches,
    vector,
)
from normbench.stats.flip import sign_flip_p
from normbench.stats.guard import asymmetry_guard
from normbench.stats.multiplicity import max_t
from normbench.stats.rounding import difference

LEAST_SEEDS = 8
"""With fewer the smallest p-values are no smaller than the shares of the error rate."""


@dataclass(frozen=True)
class Budget:
    """The error rate of what is said of one experiment by itself, and its shares.

    Attributes:
        pairs: of all pairs of norms at all batch sizes, corrected together.
        contrasts: of the contrasts in one over the batch size, corrected together.
        sequences: of the fixed sequences over batch sizes, shared evenly by the norms.
    """

    pairs: float
    contrasts: float
    sequences: float

    @classmethod
    def of(cls, alpha: float = 0.05, settings: int = 1) -> Budget:
        """The shares of ``alpha`` in each of the settings that an experiment varies besides.

        Raises:
            StatisticsError: alpha outside (0, 1), or fewer than one setting.
        """
        own = check_alpha(alpha) / check_count(settings, "settings")
        return cls(own / 2, own / 4, own / 4)

    def sequence(self, norms: int) -> float:
        """The level of each norm's sequence, of ``norms`` with the reference."""
        return self.sequences / max(1, norms - 1)


def decided(d: ArrayLike, alpha: float) -> NDArray[np.int64]:
    """Tell, per column of ``d``, whether its mean is decidedly above 0 (1), below (−1) or not (0).

    Step-down max-T over the columns, and for skewed ones the bootstrap-t interval besides: the
    verdicts of ``judge_family`` on superiority, without intervals. Below 8 seeds nothing is.

    Args:
        d: differences, shape (n, m).
        alpha: family-wise level.

    Raises:
        StatisticsError: not a finite matrix, or alpha outside (0, 1).
    """
    columns, level = matrix(d, "d"), check_alpha(alpha)
    n, m = columns.shape
    found = np.zeros(m, dtype=np.int64)
    if n < LEAST_SEEDS:
        return found
    for j, p in enumerate(max_t(columns)):
        own = columns[:, j]
        if reaches(float(p), level) and asymmetry_guard(own, level / m).agrees(0.0):
            found[j] = int(np.sign(own.mean()))
    return found


def may_be_best(norms: Sequence[str], worse: Collection[tuple[str, str]]) -> tuple[str, ...]:
    """Return the norms at a batch size that are not decidedly worse than any other.

    Args:
        norms: the norms there.
        worse: decided pairs, each the worse norm and the better one.
    """
    losers = {loser for loser, _ in worse}
    return tuple(norm for norm in norms if norm not in losers)


def worse_up_to(batch_sizes: Sequence[float], worse: Sequence[bool]) -> float | None:
    """Return the batch size up to which a norm is decidedly worse: read off decided pairs.

    From the smallest size upwards, up to the first that is not decided so; None if that is the
    smallest.

    Raises:
        StatisticsError: not one verdict per size.
    """
    if len(batch_sizes) != len(worse):
        raise fault("one verdict per batch size", f"{len(worse)} for {len(batch_sizes)}", "pair up")
    last = None
    for size, lost in sorted(zip(batch_sizes, worse, strict=True)):
        if not lost:
            break
        last = float(size)
    return last


def within_from(
    extra: ArrayLike, batch_sizes: Sequence[float], delta: float, *, alpha: float
) -> float | None:
    """Return the batch size from which on a norm stays within ``delta`` of the reference.

    A fixed sequence: from the largest size downwards, the one-sided flip test of the extra error
    against ``delta``, each at ``alpha``, up to the first that does not reject; so the error rate of
    the whole sequence is ``alpha``. None if the largest size does not reject. Skewed columns need
    the bootstrap-t interval besides. Below 8 seeds None.

    Args:
        extra: error of the norm minus that of the reference, shape (n, K).
        batch_sizes: the K sizes, in the order of the columns.
        delta: δ > 0, declared beforehand, in the unit of ``extra``.
        alpha: level of the sequence.

    Raises:
        StatisticsError: shapes that do not fit, a δ not above 0, alpha outside (0, ½).

    Source: Maurer, Hothorn and Lehmacher (1995) on fixed sequences.
    """
    columns, margin = matrix(extra, "extra"), check_positive(delta, "delta")
    sizes: FloatArray = vector(batch_sizes, "batch_sizes")
    if columns.shape[1] != sizes.size:
        raise fault("one column per batch size", f"{columns.shape[1]} for {sizes.size}", "pair up")
    if check_alpha(alpha) >= 0.5:
        raise fault("alpha of a one-sided test lies below ½", alpha, "use 0.0125")
    first = None
    for j in np.argsort(-sizes):
        d = difference(columns[:, j], margin)
        clear = len(d) >= LEAST_SEEDS and reaches(sign_flip_p(d, "less"), alpha)
        if not (clear and asymmetry_guard(columns[:, j], 2.0 * alpha).agrees(margin)):
            break
        first = float(sizes[j])
    return first
