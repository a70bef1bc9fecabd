"""Seed noise apart from the noise of a finite test set.

Two runs of equal quality still differ on the items near their decision boundary. Part of
the spread of the accuracy over seeds is that, and it would shrink with a larger test set.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from normbench.stats.checks import fault, matrix
from normbench.stats.compare import SEEDS
from normbench.stats.result import Caveat, Result


def seed_noise(correct: ArrayLike) -> Result:
    """Split the variance of accuracy over seeds into seed noise and test-set noise.

    With pᵢ the share of seeds that have item i right, the test-set part of a run's accuracy
    has variance Σ pᵢ(1 − pᵢ)·n/(n − 1)/N² (the factor makes it unbiased); what is left of
    the variance over seeds is attributed to the seeds. ``estimate`` is that rest, which
    sampling can make negative; its square root (0 then) is in the details. No test and no
    interval.

    Args:
        correct: 0/1 per seed and test item, shape (n, N), n ≥ 2.

    Raises:
        StatisticsError: values other than 0 and 1, or fewer than two seeds.

    Source: law of total variance; Bouthillier et al. (2021) on sources of variation.
    """
    bits = matrix(correct, "correct")
    n, items = bits.shape
    if n < 2 or not np.isin(bits, (0.0, 1.0)).all():
        raise fault(
            "correct must be 0 or 1 per seed and item, for at least two seeds",
            f"shape {bits.shape}",
            "store whether each test item was classified correctly",
        )
    accuracy, share = bits.mean(axis=1), bits.mean(axis=0)
    total = float(accuracy.var(ddof=1))
    test_set = float((share * (1.0 - share)).sum()) * n / (n - 1) / items**2
    between = total - test_set
    warnings: tuple[Caveat, ...] = ()
    if between < 0:
        text = "the spread over seeds is no larger than test-set noise alone explains"
        warnings = (Caveat("test-set-noise", text),)
    return Result(
        name="seed noise apart from test-set noise",
        estimand="variance over seeds of the accuracy that an unlimited test set would show",
        estimate=between,
        interval=None,
        level=None,
        p=None,
        n=n,
        values=tuple(accuracy.tolist()),
        assumptions=("items are right or wrong independently, given the seed's quality", SEEDS),
        warnings=warnings,
        details={
            "items": items,
            "total_variance": total,
            "test_set_variance": test_set,
            "total_sd": total**0.5,
            "test_set_sd": test_set**0.5,
            "seed_sd": max(between, 0.0) ** 0.5,
        },
    )
