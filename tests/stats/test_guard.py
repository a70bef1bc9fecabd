import numpy as np
import pytest
from scipy.stats import skew

from normbench.errors import StatisticsError
from normbench.stats import asymmetry_guard, bootstrap_t_interval, paired_difference, skewness
from normbench.stats.guard import RESAMPLE_SEED, RESAMPLES


def test_skewness_is_the_moment_ratio():
    d = np.random.default_rng(1).exponential(size=15)
    assert skewness(d) == pytest.approx(skew(d), rel=1e-12)
    assert skewness([3.0, 3.0, 3.0]) == 0.0
    assert skewness(np.array([0.1, 0.2, 0.9]) * 1e150) == pytest.approx(skew([0.1, 0.2, 0.9]))


def test_bootstrap_t_against_a_plain_loop():
    d = np.random.default_rng(2).exponential(size=12)
    picks = np.random.default_rng(RESAMPLE_SEED).integers(0, 12, size=(RESAMPLES, 12))
    error = d.std(ddof=1) / np.sqrt(12)
    t = sorted((d[row].mean() - d.mean()) / (d[row].std(ddof=1) / np.sqrt(12)) for row in picks)
    expected = d.mean() - error * t[9750 - 1], d.mean() - error * t[250 - 1]
    np.testing.assert_allclose(bootstrap_t_interval(d), expected, rtol=1e-9)


def test_resamples_without_spread_reach_to_infinity():
    low, high = bootstrap_t_interval([0.0, 0.0, 0.0, 0.0, 0.0, 1.0])
    assert high == np.inf
    assert np.isfinite(low)
    assert bootstrap_t_interval([2.0, 2.0, 2.0]) == (2.0, 2.0)


def test_level_beyond_the_resamples_is_unbounded():
    assert bootstrap_t_interval(np.arange(9.0), 1e-5) == (-np.inf, np.inf)


def test_deterministic():
    d = np.random.default_rng(3).exponential(size=20)
    assert bootstrap_t_interval(d) == bootstrap_t_interval(d)


def test_inactive_below_ten_seeds_or_without_skewness():
    skewed = np.array([0.0] * 8 + [1.0])
    assert not asymmetry_guard(skewed).active
    assert not asymmetry_guard(np.random.default_rng(4).standard_normal(30)).active
    assert asymmetry_guard(np.append(skewed, 0.1)).active


def test_hull_and_agreement_reach_the_comparison():
    d = np.random.default_rng(12).lognormal(0, 1, 20) - 1
    result = paired_difference(d)
    flip, boot = result.details["flip_interval"], result.details["bootstrap_t_interval"]
    assert result.interval == (min(flip[0], boot[0]), max(flip[1], boot[1]))
    assert boot == bootstrap_t_interval(d)
    assert any("skewed" in str(text) for text in result.warnings)
    guard = asymmetry_guard(d)
    assert guard.agrees(boot[1] + 1)
    assert not guard.agrees((boot[0] + boot[1]) / 2)


def test_bad_input_is_refused():
    with pytest.raises(StatisticsError, match="two seeds"):
        bootstrap_t_interval([1.0])
    with pytest.raises(StatisticsError, match="resamples"):
        bootstrap_t_interval([1.0, 2.0], resamples=0)
