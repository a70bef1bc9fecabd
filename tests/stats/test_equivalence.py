import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from normbench.errors import StatisticsError
from normbench.stats import (
    equivalence,
    invariance,
    margin_p_values,
    noninferiority,
    sign_flip_p,
    tost,
)

SIZES = [2, 4, 8, 16, 32, 128]


@given(
    st.lists(st.integers(-9, 9), min_size=6, max_size=12),
    st.sampled_from([0.1, 0.3, 0.5, 0.7]),
)
@settings(deadline=None, derandomize=True, max_examples=200)
def test_interval_inside_the_margins_exactly_if_the_test_rejects(d, margin):
    result = tost(np.array(d) / 10, margin)
    low, high = result.interval
    if not result.warnings:  # without the hull of the guard
        assert (-margin < low and high < margin) == (result.p <= 0.05)
        low, high = result.details["refutation_interval"]
        assert (low > margin or high < -margin) == (result.details["p_refuted"] <= 0.05)


def test_large_samples_agree_with_statsmodels():
    from statsmodels.stats.weightstats import ttost_paired

    d = np.random.default_rng(1).standard_normal(25) * 0.5
    p, lower, upper = ttost_paired(d, np.zeros(25), -0.2, 0.2)
    result = tost(d, 0.2)
    assert result.p == pytest.approx(p, abs=0.01)
    inside, _ = margin_p_values(d[:, None], 0.2)
    assert inside[0] == pytest.approx(max(lower[1], upper[1]), abs=0.01)


def test_p_values_are_one_sided_flips():
    d = np.random.default_rng(2).standard_normal((9, 3))
    inside, beyond = margin_p_values(d, 0.4)
    for j in range(3):
        column = d[:, j]
        low, high = sign_flip_p(column + 0.4, "greater"), sign_flip_p(0.4 - column, "greater")
        assert inside[j] == max(low, high)
        above, below = sign_flip_p(column - 0.4, "greater"), sign_flip_p(-0.4 - column, "greater")
        assert beyond[j] == min(above, below)


def test_claim_over_several_columns_is_as_weak_as_its_weakest():
    d = np.random.default_rng(3).standard_normal((12, 4)) * 0.3
    result = equivalence(d, 0.6)
    single = [tost(d[:, j], 0.6) for j in range(4)]
    assert result.p == max(r.p for r in single)
    assert result.interval[0] == min(r.interval[0] for r in single)
    assert result.interval[1] == max(r.interval[1] for r in single)
    _, beyond = margin_p_values(d, 0.6)
    assert result.details["p_refuted"] == min(1, 2 * 4 * beyond.min())
    worst = np.abs(d.mean(axis=0)).argmax()
    assert result.estimate == pytest.approx(d.mean(axis=0)[worst])


def test_invariance_compares_every_size_with_the_reference():
    e = np.random.default_rng(4).standard_normal((10, 6)) * 0.2 + np.arange(10)[:, None]
    result = invariance(e, SIZES, 128, 0.5)
    assert result.p == equivalence(e[:, :5] - e[:, 5:], 0.5).p
    assert result.details["batch_sizes"] == (2, 4, 8, 16, 32)
    other = invariance(e, SIZES, 8, 0.5)
    assert other.p == equivalence(np.delete(e, 2, 1) - e[:, 2:3], 0.5).p


def test_a_violation_at_one_size_is_not_claimed_away():
    e = np.random.default_rng(5).standard_normal((30, 6)) * 0.1
    e[:, 0] += 0.6
    result = invariance(e, SIZES, 128, 0.5)
    assert result.p > 0.5
    _, beyond = margin_p_values(e[:, :5] - e[:, 5:], 0.5)
    assert result.details["p_refuted"] == 2 * 5 * beyond.min()
    assert result.details["p_refuted"] < 0.05
    assert result.estimate == pytest.approx((e[:, 0] - e[:, 5]).mean())


def test_skewed_differences_widen_the_interval():
    d = np.random.default_rng(12).lognormal(0, 1, 20) / 10
    result = tost(d, 0.5)
    assert any("skewed" in str(text) for text in result.warnings)
    from normbench.stats import bootstrap_t_interval

    assert result.interval[1] >= bootstrap_t_interval(d, 0.1)[1]


def test_few_seeds_and_impossible_levels_are_refused():
    result = tost([0.0] * 5, 0.5)
    assert result.refusal.startswith("5 seeds")
    assert result.p is None
    assert "cannot reach" in tost(np.zeros(6), 0.5, alpha=0.01).refusal


def test_noninferiority_shifts_by_the_margin():
    d = np.random.default_rng(6).standard_normal(10)
    result = noninferiority(d, 0.5)
    assert result.p == sign_flip_p(d + 0.5)
    assert result.estimate == pytest.approx(d.mean())


@pytest.mark.parametrize("margin", [0.0, -1.0, np.inf, np.nan])
def test_margin_must_be_declared_positive(margin):
    with pytest.raises(StatisticsError, match="margin must be"):
        tost(np.zeros(8), margin)
    with pytest.raises(StatisticsError, match="margin must be"):
        noninferiority(np.zeros(8), margin)


def test_bad_sizes_are_refused():
    e = np.zeros((8, 6))
    with pytest.raises(StatisticsError, match="one of the sizes"):
        invariance(e, SIZES, 64, 0.5)
    with pytest.raises(StatisticsError, match="one column per batch size"):
        invariance(e, SIZES[:-1], 2, 0.5)
    with pytest.raises(StatisticsError, match="below ½"):
        tost(np.zeros(8), 0.5, alpha=0.6)
