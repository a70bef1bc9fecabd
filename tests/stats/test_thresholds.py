import numpy as np
import pytest

from normbench.errors import StatisticsError
from normbench.stats import (
    max_t,
    pooled_grid,
    pooled_threshold,
    restricted_mean_difference,
    restricted_time,
    running_mean,
    simultaneous_band,
    threshold_sweep,
)


def curves(seed, n=10, pace=1.0):
    rng = np.random.default_rng(seed)
    x = np.arange(1, 31)
    tau = 6 * pace * np.exp(0.3 * rng.standard_normal((n, 1)))
    return (0.9 + 0.03 * rng.standard_normal((n, 1))) * (1 - np.exp(-x / tau))


def test_pooled_threshold_is_reached_by_the_share_and_no_harder_one_is():
    a, b = curves(1), curves(2, pace=1.5)
    for share in (0.5, 0.8, 1.0):
        theta = pooled_threshold([a, b], goal="max", share=share)
        best = running_mean(np.concatenate([a, b])).max(axis=1)
        assert (best >= theta).mean() >= share
        assert (best > theta).mean() < share


def test_pooled_threshold_is_blind_to_labels():
    a, b = curves(1), curves(2, pace=1.5)
    pool = np.random.default_rng(3).permutation(np.concatenate([a, b]))
    expected = pooled_threshold([a, b], goal="max")
    assert pooled_threshold([pool[:4], pool[4:]], goal="max") == expected
    assert pooled_threshold([-pool[:4], -pool[4:]], goal="min") == -expected


def test_diverged_runs_count_by_what_they_reached():
    a, b = curves(1, n=4), curves(2, n=4)
    a[0] = np.nan
    assert np.isfinite(pooled_threshold([a, b], goal="max", share=0.8))
    with pytest.raises(StatisticsError, match="enough runs"):
        pooled_threshold([a, b], goal="max", share=1.0)


def test_a_threshold_is_never_taken_from_one_configuration():
    with pytest.raises(StatisticsError, match="never taken from one"):
        pooled_threshold([curves(1)], goal="max")
    with pytest.raises(StatisticsError, match="share must lie"):
        pooled_threshold([curves(1), curves(2)], goal="max", share=0.0)


def test_grid_runs_from_easy_to_hard():
    a, b = curves(1), curves(2)
    grid = pooled_grid([a, b], goal="max", count=5)
    assert (np.diff(grid) > 0).all()
    assert grid[0] == pooled_threshold([a, b], goal="max", share=0.95)
    assert grid[-1] == pooled_threshold([a, b], goal="max", share=0.5)
    assert (np.diff(pooled_grid([-a, -b], goal="min", count=5)) < 0).all()


def test_sweep_is_one_family_of_restricted_time_differences():
    x, thetas = np.arange(1, 31), [0.5, 0.6, 0.7]
    a, b = curves(1, pace=0.7), curves(2)
    sweep = threshold_sweep(x, a, b, thetas, goal="max", budget=30)
    d = np.stack(
        [
            restricted_time(x, b, t, goal="max", budget=30).time
            - restricted_time(x, a, t, goal="max", budget=30).time
            for t in thetas
        ],
        axis=1,
    )
    band = simultaneous_band(d)
    for j, result in enumerate(sweep.results):
        times = [restricted_time(x, c, thetas[j], goal="max", budget=30).time for c in (a, b)]
        assert result.p == restricted_mean_difference(*times, budget=30).p
        assert result.details["adjusted_p"] == max_t(d)[j]
        assert result.details["adjusted_p"] >= result.p
        assert result.details["simultaneous_interval"] == (band.low[j], band.high[j])
        assert result.details["threshold"] == thetas[j]
    assert sweep.thresholds == tuple(thetas)
    assert "0.6" in str(sweep)


def test_a_threshold_that_nobody_reaches_is_constant_and_refused():
    sweep = threshold_sweep(
        np.arange(1, 31), curves(1), curves(2), [0.5, 5.0], goal="max", budget=30
    )
    never = sweep.results[1]
    assert never.refusal is not None
    assert never.details["adjusted_p"] is None
    assert never.details["simultaneous_interval"] is None
    assert sweep.results[0].refusal is None
    assert "constant" in str(sweep)
    assert "refused" in str(sweep)


def test_sweep_counts_divergence():
    a = curves(1)
    a[0, 1:] = np.nan
    sweep = threshold_sweep(np.arange(1, 31), a, curves(2), [0.5], goal="max", budget=30)
    assert sweep.results[0].details["fragile"] is True


def test_shapes_must_match():
    with pytest.raises(StatisticsError, match="same seeds"):
        threshold_sweep(np.arange(1, 31), curves(1), curves(2, n=9), [0.5], goal="max", budget=30)


def test_untrained_levels_are_not_pooled():
    a, b = curves(1), curves(2, pace=1.5)
    x = np.arange(31)
    whole = [np.column_stack([np.full(len(c), 5.0), c]) for c in (a, b)]
    expected = pooled_threshold([a, b], goal="max")
    assert pooled_threshold(whole, goal="max", x=[x, x]) == expected
    grid = pooled_grid(whole, goal="max", count=5, x=[x, x])
    np.testing.assert_array_equal(grid, pooled_grid([a, b], goal="max", count=5))
