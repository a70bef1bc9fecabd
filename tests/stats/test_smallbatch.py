import numpy as np
import pytest

from normbench.errors import StatisticsError
from normbench.stats import (
    crossover_batch_size,
    inverse_batch_contrast,
    inverse_batch_weights,
    paired_difference,
    sign_flip_p,
)

SIZES = [2, 4, 8, 16, 32, 128]


def errors(seed, n=10, extra=0.0, shift=0.0):
    rng = np.random.default_rng(seed)
    b = np.array(SIZES, dtype=float)
    noise = rng.standard_normal((2, n, 6)) * 0.4
    u = rng.standard_normal((n, 1))
    return 2 / b + u + noise[0] + extra * 2 / b, 2 / b + u + noise[1] + shift


def test_weights_are_the_slope_in_one_over_b():
    weights = inverse_batch_weights(SIZES)
    assert weights.sum() == pytest.approx(0, abs=1e-12)
    y = np.random.default_rng(1).standard_normal(6)
    slope = np.polyfit(1 / np.array(SIZES), y, 1)[0]
    assert weights @ y == pytest.approx(slope)


def test_exact_degradation_is_recovered_in_metric_units():
    b = np.array(SIZES, dtype=float)
    questioned = np.tile(1 + 3 / b, (8, 1)) + np.arange(8)[:, None]
    reference = np.tile(1 + 1 / b, (8, 1)) + np.arange(8)[:, None]
    result = inverse_batch_contrast(questioned, reference, SIZES)
    np.testing.assert_allclose(result.values, np.full(8, 2 * (1 / 2 - 1 / 128)))
    assert result.details["slope_mean"] == pytest.approx(2.0)
    assert result.details["difference_in_differences"] == pytest.approx(2 * (1 / 2 - 1 / 128))


def test_equals_the_default_comparison_of_the_contrasts():
    bn, gn = errors(2, extra=0.7)
    result = inverse_batch_contrast(bn, gn, SIZES)
    span = 1 / 2 - 1 / 128
    contrast = (bn - gn) @ inverse_batch_weights(SIZES)
    assert result.p == sign_flip_p(contrast)
    np.testing.assert_allclose(result.values, contrast * span)
    np.testing.assert_allclose(
        result.interval, paired_difference(contrast * span).interval, rtol=1e-12
    )
    ends = (bn - gn)[:, 0] - (bn - gn)[:, -1]
    assert result.details["difference_in_differences"] == pytest.approx(ends.mean())
    assert result.details["difference_in_differences_p"] == sign_flip_p(ends)


def test_order_of_columns_and_goal():
    bn, gn = errors(3, extra=0.7)
    straight = inverse_batch_contrast(bn, gn, SIZES)
    order = [3, 0, 5, 1, 4, 2]
    mixed = inverse_batch_contrast(bn[:, order], gn[:, order], [SIZES[i] for i in order])
    np.testing.assert_allclose(mixed.values, straight.values)
    accuracy = inverse_batch_contrast(1 - bn, 1 - gn, SIZES, goal="max")
    np.testing.assert_allclose(accuracy.values, straight.values)


def test_crossover_of_noiseless_curves_is_where_the_mean_crosses():
    b = np.array(SIZES, dtype=float)
    gap = np.tile(2.4 / b - 0.35, (8, 1)) + 1e-6 * np.random.default_rng(1).random((8, 1))
    result = crossover_batch_size(gap, np.zeros((8, 6)), SIZES)
    exact = 2 ** (2 + 0.25 / 0.30)
    assert exact <= result.estimate <= exact * 2 ** (1 / 16)
    low, high = result.interval
    assert low <= exact <= high
    assert high / low <= 2 ** (1 / 8)
    assert result.p is None


def test_crossover_interval_is_the_hull_of_what_the_test_keeps():
    bn, gn = errors(4, n=12, extra=2.0, shift=0.8)
    result = crossover_batch_size(bn, gn, SIZES)
    d = bn - gn
    grid = np.arange(1, 7 + 1 / 32, 1 / 16)
    x = np.log2(SIZES)
    columns = np.array([[np.interp(g, x, row) for g in grid] for row in d])
    kept = [g for j, g in enumerate(grid) if sign_flip_p(columns[:, j]) > 0.05]
    np.testing.assert_allclose(result.interval, (2 ** min(kept), 2 ** max(kept)))
    first = grid[np.flatnonzero(columns.mean(axis=0) <= 0)[0]]
    assert result.estimate == pytest.approx(2**first)


def test_no_crossing_and_open_ends():
    bn, gn = errors(5, extra=0.0, shift=-3.0)
    worse = crossover_batch_size(bn, gn, SIZES)
    assert worse.estimate == np.inf
    assert worse.interval[1] == np.inf
    assert any("no crossing" in str(text) for text in worse.warnings)
    better = crossover_batch_size(gn, bn, SIZES)
    assert better.estimate == 2
    assert better.interval[0] == 0.0
    assert any("open below" in str(text) for text in better.warnings)


@pytest.mark.parametrize(("level", "wanted"), [(0.3, (32.0, np.inf)), (-0.3, (0.0, 2.0))])
def test_decided_at_every_size_the_crossing_lies_beyond_the_end(level, wanted):
    rng = np.random.default_rng(1)
    d = level + 0.01 * rng.standard_normal((10, 3))
    result = crossover_batch_size(d, np.zeros_like(d), [2, 8, 32])
    assert result.interval == pytest.approx(wanted)
    assert result.estimate == (np.inf if level > 0 else 2.0)


def test_crossover_by_at_least_moves_the_curve():
    bn, gn = errors(6, extra=1.2, shift=0.35)
    moved = crossover_batch_size(bn, gn, SIZES, by_at_least=0.2)
    shifted = crossover_batch_size(bn - 0.2, gn, SIZES)
    assert moved.estimate == shifted.estimate
    assert moved.interval == pytest.approx(shifted.interval)
    assert moved.estimate <= crossover_batch_size(bn, gn, SIZES).estimate


def test_few_seeds_are_refused():
    bn, gn = errors(7, n=5)
    assert inverse_batch_contrast(bn, gn, SIZES).refusal.startswith("5 seeds")
    crossover = crossover_batch_size(bn, gn, SIZES)
    assert crossover.refusal.startswith("5 seeds")
    assert crossover.interval is None


@pytest.mark.parametrize(
    ("sizes", "said"),
    [
        ([2, 4, 8, 16, 32], "one column per batch size"),
        ([2, 2, 8, 16, 32, 128], "different positive sizes"),
        ([0, 4, 8, 16, 32, 128], "different positive sizes"),
        ([2], "at least two"),
    ],
)
def test_bad_sizes_are_refused(sizes, said):
    bn, gn = errors(8)
    with pytest.raises(StatisticsError, match=said):
        inverse_batch_contrast(bn, gn, sizes)


def test_shapes_must_match():
    bn, gn = errors(9)
    with pytest.raises(StatisticsError, match="same seeds"):
        inverse_batch_contrast(bn, gn[:-1], SIZES)
