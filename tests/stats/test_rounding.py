"""Rounding is no effect, and the unit of the values decides nothing."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from normbench.stats import (
    crossover_batch_size,
    endpoint_values,
    equivalence,
    geometric_ratio,
    invariance,
    inverse_batch_contrast,
    noninferiority,
    paired,
    restricted_mean_difference,
    skewness,
    threshold_sweep,
    welch_permutation,
)
from normbench.stats.rounding import ROUNDING, constant, difference, log_ratio, settled
from normbench.stats.verdict import ClaimData, judge, judge_family

SUM = 0.1 + 0.2  # not 0.3
UNITS = [1.0, 1e-30, 1e30, 3e-7]


def noisy(value, shape, seed=0):
    """Equal values but for rounding, of either sign."""
    eps = np.finfo(float).eps
    return value * (1 + eps * np.random.default_rng(seed).integers(-4, 5, shape))


@pytest.mark.parametrize("unit", UNITS)
def test_equal_values_are_equal_whatever_rounding_left(unit):
    result = paired([SUM * unit] * 8, [0.3 * unit] * 8, goal="min")
    assert (result.estimate, result.p, result.interval) == (0.0, None, None)
    assert "0 differences off the null value" in result.refusal
    a, b = noisy(0.3 * unit, 12, 1), noisy(0.3 * unit, 12, 2)
    assert paired(a, b, goal="max").details["n_nonzero"] == 0


@pytest.mark.parametrize("unit", UNITS)
def test_a_difference_at_the_bound_touches_it(unit):
    a, b = np.full(8, 0.3) * unit, np.full(8, 0.305) * unit
    result = noninferiority(a - b, 0.005 * unit)
    assert result.details["n_nonzero"] == 0
    claim = ClaimData("c", "superiority", np.full(8, SUM) * unit, margin=0.3 * unit)
    assert judge(claim).outcome == "inconclusive"
    both = equivalence(np.full((8, 1), SUM) * unit, 0.3 * unit)
    assert both.p == 1.0
    assert both.details["p_refuted"] == 1.0


@pytest.mark.parametrize("unit", UNITS)
def test_families_see_no_effect_in_rounding(unit):
    rng = np.random.default_rng(3)
    real = rng.normal(size=10)
    flat = difference(noisy(0.3 * unit, 10, 1), noisy(0.3 * unit, 10, 2))
    real_claim = ClaimData("real", "superiority", (real + 3) * unit)
    for method in ("max-t", "holm"):
        claims = [ClaimData("flat", "superiority", flat), real_claim]
        verdicts = judge_family(claims, method=method)
        assert verdicts[0].outcome == "inconclusive"
        assert verdicts[0].adjusted_p is None
        assert verdicts[1].outcome == "supported"


@pytest.mark.parametrize("unit", UNITS)
def test_contrasts_over_batch_sizes_see_no_effect_in_rounding(unit):
    # the same loss at every size: 0.3 in each, of values that differ by rounding
    reference = noisy(0.7 * unit, (8, 3), 1)
    questioned = reference + noisy(0.1 * unit, (8, 3), 2)
    result = inverse_batch_contrast(questioned, reference, [2, 8, 32])
    assert result.details["n_nonzero"] == 0
    assert result.details["difference_in_differences_p"] is None
    crossing = crossover_batch_size(
        noisy(0.7 * unit, (8, 3), 4), noisy(0.7 * unit, (8, 3), 5), [2, 8, 32]
    )
    assert crossing.interval == (0.0, np.inf)
    steady = invariance(noisy(0.7 * unit, (8, 3), 6), [2, 8, 32], 32, 0.1 * unit)
    assert steady.estimate == 0.0


@pytest.mark.parametrize("unit", UNITS)
def test_times_see_no_effect_in_rounding(unit):
    a, b = noisy(5.0 * unit, 8, 1), noisy(5.0 * unit, 8, 2)
    for compare in (restricted_mean_difference, geometric_ratio):
        assert compare(a, b, budget=9 * unit).p is None
    x = np.arange(1.0, 4.0)
    curves = np.tile([0.2, 0.5, 0.9], (8, 1))
    sweep = threshold_sweep(x, curves * noisy(1.0, (8, 1), 3), curves, [0.4], goal="max", budget=3)
    assert sweep.results[0].p is None


@pytest.mark.parametrize("unit", UNITS)
def test_groups_without_common_seeds_see_no_effect_in_rounding(unit):
    result = welch_permutation([SUM * unit] * 5, [0.3 * unit] * 5, goal="min")
    assert result.p == 1.0
    apart = welch_permutation([SUM * unit] * 5, [0.31 * unit] * 5, goal="min")
    assert apart.p == pytest.approx(2 / 252)
    assert result.interval[0] <= 0 <= result.interval[1]


def test_a_run_at_chance_is_not_worse_than_chance():
    end = endpoint_values("final", [1], [[0.9 + 1e-16]], goal="min", failure_score=1 - 1 / 10)
    assert end.n_clipped == 0
    bad = endpoint_values("final", [1], [[0.91]], goal="min", failure_score=1 - 1 / 10)
    assert bad.n_clipped == 1


def test_constant_values_have_no_shape():
    assert skewness(noisy(0.3, 12)) == 0.0
    assert paired(noisy(0.7, 12), np.zeros(12), goal="min").details["sd"] == 0.0
    assert constant(noisy(1e30, 9))
    assert constant([])
    assert not constant([0.3, 0.3 * (1 + 2 * ROUNDING)])


@given(
    st.lists(st.floats(-1, 1), min_size=6, max_size=9),
    st.lists(st.floats(-1, 1), min_size=9, max_size=9),
    st.integers(-100, 100),
)
def test_the_unit_decides_nothing(first, second, power):
    """Powers of two scale exactly; p and verdicts stay, estimates and intervals scale."""
    a, b = np.array(first), np.array(second[: len(first)])
    unit = 2.0**power
    plain, scaled = (paired(a * u, b * u, goal="min") for u in (1.0, unit))
    assert scaled.p == plain.p
    assert scaled.refusal == plain.refusal
    assert scaled.estimate == plain.estimate * unit
    if plain.interval is not None:
        np.testing.assert_allclose(scaled.interval, np.array(plain.interval) * unit, rtol=1e-12)


@given(st.floats(1e-30, 1e30), st.floats(1e-30, 1e30))
def test_differences_are_kept_unless_they_are_rounding(a, b):
    kept = difference(a, b)
    assert kept == a - b or (kept == 0 and abs(a - b) <= 2 * ROUNDING * max(a, b))
    assert difference(b, a) == -kept
    assert (log_ratio(a, b) == 0) == (kept == 0)
    assert difference(a, a * (1 + 1e-9)) != 0
    assert difference(a, np.nextafter(a, np.inf)) == 0


def test_terms_of_a_sum_may_be_of_any_shape():
    np.testing.assert_array_equal(settled([[0.1, 1.0], [0.2, 1.0], [-0.3, 1.0]]), [0.0, 3.0])
    assert settled([1e16, 1.0, -1e16]) == 0.0
    assert np.isnan(difference(np.nan, 1.0))
