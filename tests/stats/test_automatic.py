"""What is said without a claim: rules on single studies; error rates are in the calibration."""

import numpy as np
import pytest

from normbench.stats.automatic import (
    LEAST_SEEDS,
    Budget,
    decided,
    may_be_best,
    within_from,
    worse_up_to,
)
from normbench.stats.flip import sign_flip_p
from normbench.stats.verdict import ClaimData, judge_family

from . import automatic

SIGNS = {"supported": 1, "refuted": -1, "inconclusive": 0}


def test_the_shares_of_a_budget_add_up_over_all_settings():
    for settings in (1, 2, 5):
        own = Budget.of(0.05, settings)
        assert settings * (own.pairs + own.contrasts + own.sequences) == pytest.approx(0.05)
        assert 3 * own.sequence(4) == pytest.approx(own.sequences)
    assert Budget.of().sequence(1) == Budget.of().sequences


@pytest.mark.parametrize("n", [8, 12, 20])
def test_what_is_decided_is_what_a_family_of_claims_decides(n):
    rng = np.random.default_rng(n)
    for shift in (0.0, 1.2):
        d = rng.standard_normal((n, 5)) + shift * np.array([1, 0, -1, 0, 1])
        d[:, 4] = rng.lognormal(0, 1.5, n) - 0.3  # skewed: the guard has a say
        claims = [ClaimData(str(j), "superiority", d[:, j]) for j in range(5)]
        wanted = [SIGNS[v.outcome] for v in judge_family(claims, method="max-t", alpha=0.025)]
        assert decided(d, 0.025).tolist() == wanted


def test_below_eight_seeds_nothing_is_decided():
    d = np.full((LEAST_SEEDS - 1, 2), 3.0) + np.arange(LEAST_SEEDS - 1)[:, None]
    assert not decided(d, 0.025).any()
    assert within_from(-d, [2, 8], 1.0, alpha=0.01) is None
    more = np.full((LEAST_SEEDS, 2), 3.0) + np.arange(LEAST_SEEDS)[:, None]
    assert decided(more, 0.025).tolist() == [1, 1]
    assert within_from(-more, [2, 8], 1.0, alpha=0.01) == 2


def test_who_is_not_worse_than_anybody_may_be_best():
    norms = ("a", "b", "c")
    assert may_be_best(norms, []) == norms
    assert may_be_best(norms, [("b", "a")]) == ("a", "c")
    assert may_be_best(norms, [("c", "b"), ("b", "a")]) == ("a",)


def test_worse_up_to_stops_at_the_first_size_that_is_not_decided():
    assert worse_up_to([2, 8, 32], [True, True, False]) == 8
    assert worse_up_to([32, 2, 8], [True, True, False]) == 2
    assert worse_up_to([2, 8, 32], [False, True, True]) is None
    assert worse_up_to([2, 8, 32], [True, True, True]) == 32
    assert worse_up_to([], []) is None


def test_the_sequence_goes_from_the_largest_size_down_to_the_first_that_fails():
    rng = np.random.default_rng(3)
    sizes = [8, 128, 2, 32]
    extra = rng.standard_normal((12, 4)) * 0.1 + np.array([5.0, 0.0, 0.0, 0.0])
    assert within_from(extra, sizes, 1.0, alpha=0.01) == 32  # at 2 it is, but not at 8
    extra[:, 1] += 0.9
    p = sign_flip_p(extra[:, 1] - 1.0, "less")
    assert within_from(extra, sizes, 1.0, alpha=p * 0.99) is None
    assert within_from(extra, sizes, 1.0, alpha=p * 1.01) is not None
    assert within_from(extra - 9.0, sizes, 1.0, alpha=0.01) == 2


def test_what_cannot_be_is_refused():
    d = np.zeros((9, 2))
    with pytest.raises(ValueError, match="one column per batch size"):
        within_from(d, [2, 4, 8], 1.0, alpha=0.01)
    with pytest.raises(ValueError, match="delta"):
        within_from(d, [2, 4], 0.0, alpha=0.01)
    with pytest.raises(ValueError, match="below"):
        within_from(d, [2, 4], 1.0, alpha=0.6)
    with pytest.raises(ValueError, match="one verdict per batch size"):
        worse_up_to([2, 4], [True])


def test_a_false_statement_of_each_kind_is_counted():
    """The simulation sees what it is there to see."""
    means, rng = automatic.truth(1), np.random.default_rng(0)
    quiet = 0.01 * automatic.normal(rng)
    assert not automatic.study(means, quiet).any
    shifted = quiet.copy()
    shifted[2] += 1.0  # norm y is made to look worse everywhere, and is not
    found = automatic.study(means, shifted)
    assert (found.pairs, found.best, found.crossover) == (True, True, True)
    steeper = quiet.copy()
    steeper[3, 0] += 2.0
    assert automatic.study(means, steeper).contrasts
    lower = quiet.copy()
    lower[1, 2:] -= 3.0  # norm x is made to look within δ where it is at δ
    assert automatic.study(automatic.at_delta(), lower).crossover
