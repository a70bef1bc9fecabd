import warnings

import numpy as np
import pytest
from scipy.stats import binom

from normbench.errors import StatisticsError
from normbench.stats import (
    fraction_reached,
    geometric_ratio,
    median_time,
    paired_difference,
    ratio_of_means,
    restricted_mean_difference,
    sign_flip_p,
)
from normbench.stats.interval import subset_mean_interval

A = np.array([8.5, 12.25, 30, 9.75, 11, 14.5, 10.25, 30])
B = np.array([10, 15.5, 21, 12, 13.75, 19.25, 12.5, 30])


def test_mean_of_restricted_times_is_the_kaplan_meier_area():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from lifelines import KaplanMeierFitter
        from lifelines.utils import restricted_mean_survival_time

        area = restricted_mean_survival_time(
            KaplanMeierFitter().fit(A, event_observed=A < 30), t=30
        )
    result = restricted_mean_difference(A, B, budget=30)
    assert result.details["mean_a"] == pytest.approx(area)


def test_difference_is_the_default_comparison_of_times():
    result = restricted_mean_difference(A, B, budget=30, unit="samples")
    plain = paired_difference(B - A)
    assert (result.p, result.interval, result.estimate) == (
        plain.p,
        plain.interval,
        plain.estimate,
    )
    assert "30 samples" in result.estimand
    assert result.details["seed_correlation"] == pytest.approx(np.corrcoef(A, B)[0, 1])


def test_geometric_ratio_is_flipped_on_the_log_scale():
    result = geometric_ratio(A, B, budget=30)
    logs = np.log(A / B)
    assert result.estimate == pytest.approx(np.exp(logs.mean()))
    assert result.p == sign_flip_p(logs)
    np.testing.assert_allclose(result.interval, np.exp(subset_mean_interval(logs)))
    np.testing.assert_allclose(result.values, A / B)


def test_geometric_ratio_does_not_depend_on_the_unit_and_inverts():
    one = geometric_ratio(A, B, budget=30)
    seconds = geometric_ratio(A * 60, B * 60, budget=1800)
    assert seconds.estimate == pytest.approx(one.estimate)
    np.testing.assert_allclose(seconds.interval, one.interval)
    swapped = geometric_ratio(B, A, budget=30)
    np.testing.assert_allclose(swapped.interval, 1 / np.array(one.interval)[::-1])


@pytest.mark.parametrize("n", [8, 20, 44])
def test_ratio_of_means_inverts_the_flip_test(n):
    rng = np.random.default_rng(n)
    b = rng.uniform(10, 30, n)
    a = b * rng.uniform(0.6, 1.2, n)
    result = ratio_of_means(a, b, budget=40)
    assert result.estimate == pytest.approx(a.mean() / b.mean())
    low, high = result.details.get("flip_interval", result.interval)
    for inside, outside in ((low + 1e-8, low - 1e-8), (high - 1e-8, high + 1e-8)):
        assert sign_flip_p(a - inside * b) > 0.05 >= sign_flip_p(a - outside * b)
    assert result.p == sign_flip_p(b - a)


def test_skewed_ratios_get_the_hull_with_the_bootstrap():
    rng = np.random.default_rng(3)
    b = np.full(16, 10.0)
    a = 6 + 3 * rng.lognormal(0, 1, 16).clip(max=8)
    result = ratio_of_means(a, b, budget=40)
    flip, boot = result.details["flip_interval"], result.details["bootstrap_t_interval"]
    assert result.interval == (min(flip[0], boot[0]), max(flip[1], boot[1]))
    # With a constant denominator the ratio's interval is that of the mean of A, scaled.
    from normbench.stats import bootstrap_t_interval

    np.testing.assert_allclose(boot, np.array(bootstrap_t_interval(a)) / 10, rtol=1e-6)


def test_few_seeds_are_refused_everywhere():
    for compare in (restricted_mean_difference, geometric_ratio, ratio_of_means):
        result = compare(A[:5], B[:5], budget=30)
        assert result.refusal.startswith("5 seeds")
        assert result.p is None
        assert result.interval is None


def test_fraction_reached():
    result = fraction_reached(A < 30)
    assert result.estimate == 0.75
    assert result.details["reached"] == 6
    assert result.interval[0] < 0.75 < result.interval[1]


@pytest.mark.parametrize("n", [6, 7, 10, 25, 60])
@pytest.mark.parametrize("alpha", [0.05, 0.1])
def test_median_order_statistics_against_the_binomial(n, alpha):
    times = np.random.default_rng(n).permutation(np.arange(1.0, n + 1))
    result = median_time(times, alpha=alpha)
    k = result.details["order_statistic"]
    assert binom.cdf(k - 1, n, 0.5) <= alpha / 2 < binom.cdf(k, n, 0.5)
    assert result.interval == (k, n + 1 - k)
    assert result.estimate == np.median(times)
    assert result.details["confidence"] == pytest.approx(1 - 2 * binom.cdf(k - 1, n, 0.5))


def test_median_of_runs_that_never_reach_it_is_infinite():
    result = median_time([3.0, 4.0, *[np.inf] * 6])
    assert result.estimate == np.inf
    assert result.interval[1] == np.inf
    assert "∞" in str(result)
    assert median_time([3.0, 4.0, 5.0, np.inf, np.inf, np.inf]).estimate == np.inf


def test_bad_times_are_refused():
    with pytest.raises(StatisticsError, match="between 0 and the budget"):
        restricted_mean_difference(A, B, budget=20)
    with pytest.raises(StatisticsError, match="between 0 and the budget"):
        restricted_mean_difference(-A, B, budget=30)
    with pytest.raises(StatisticsError, match="needs times above 0"):
        geometric_ratio(A * 0, B, budget=30)
    with pytest.raises(StatisticsError, match="needs times above 0"):
        ratio_of_means(A, B * 0, budget=30)
    with pytest.raises(StatisticsError, match="at least 0"):
        median_time([1.0, float("nan")])
