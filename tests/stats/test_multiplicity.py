from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from normbench.errors import StatisticsError
from normbench.stats import benjamini_hochberg, holm, max_t, sign_flip_p, simultaneous_band


def brute_max_t(d):
    """Reference: studentised step-down max-T over all sign vectors, by the textbook."""
    n, m = d.shape
    signs = np.array(list(product((1, -1), repeat=n)))

    def t(sums):
        q = (d**2).sum(axis=0)
        variance = (q - sums**2 / n) / (n - 1)
        return np.abs(sums) / np.sqrt(n * np.maximum(variance, 1e-300))

    observed, flipped = t(d.sum(axis=0)), t(signs @ d)
    order = np.argsort(-observed)
    adjusted, last = np.empty(m), 0.0
    for i, j in enumerate(order):
        largest = flipped[:, order[i:]].max(axis=1)
        last = max(last, float((largest >= observed[j] * (1 - 1e-9)).mean()))
        adjusted[j] = last
    return adjusted


@pytest.mark.parametrize("seed", range(5))
def test_max_t_equals_the_textbook_procedure(seed):
    rng = np.random.default_rng(seed)
    d = rng.standard_normal((9, 4)) + np.array([1.5, 0.8, 0.0, 0.3])
    np.testing.assert_allclose(max_t(d), brute_max_t(d), atol=1e-12)


def test_max_t_of_one_claim_is_the_flip_test():
    for n in (7, 12):
        d = np.random.default_rng(n).standard_normal(n)
        assert max_t(d[:, None])[0] == pytest.approx(sign_flip_p(d))


def test_drawn_max_t_is_close_to_the_full_one():
    d = np.random.default_rng(1).standard_normal((14, 3)) + np.array([0.9, 0.5, 0.0])
    np.testing.assert_allclose(max_t(d), brute_max_t(d), atol=0.005)
    np.testing.assert_array_equal(max_t(d), max_t(d))


@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.integers(6, 10))
@settings(deadline=None, derandomize=True, max_examples=60)
def test_max_t_lies_between_raw_and_certainty_and_ignores_scale_and_order(seed, m, n):
    rng = np.random.default_rng(seed)
    d = np.round(rng.standard_normal((n, m)), 1)
    adjusted = max_t(d)
    raw = np.array([sign_flip_p(d[:, j]) for j in range(m)])
    assert (adjusted >= raw - 1e-12).all()
    assert (adjusted <= 1).all()
    np.testing.assert_allclose(max_t(d * 10.0 ** rng.integers(-200, 200, m)), adjusted)
    order = rng.permutation(m)
    np.testing.assert_allclose(max_t(d[:, order]), adjusted[order])


def test_all_zero_columns_are_certain():
    d = np.zeros((8, 2))
    d[:, 0] = np.arange(1, 9)
    np.testing.assert_allclose(max_t(d), [2 / 2**8, 1.0])


@pytest.mark.parametrize("seed", range(4))
def test_adjustments_agree_with_statsmodels(seed):
    from statsmodels.stats.multitest import multipletests

    p = np.round(np.random.default_rng(seed).random(7) ** 3, 3)
    np.testing.assert_allclose(holm(p), multipletests(p, method="holm")[1])
    np.testing.assert_allclose(benjamini_hochberg(p), multipletests(p, method="fdr_bh")[1])


def test_band_by_brute_force():
    d = np.random.default_rng(2).standard_normal((8, 3))
    d[:, 2] += d[:, 1]
    centred = d - d.mean(axis=0)
    largest = []
    for signs in product((1, -1), repeat=8):
        flipped = np.array(signs)[:, None] * centred
        t = flipped.mean(axis=0) / (flipped.std(axis=0, ddof=1) / np.sqrt(8))
        largest.append(np.abs(t).max())
    c = sorted(largest)[int(np.ceil(0.95 * 256)) - 1]
    band = simultaneous_band(d)
    assert band.critical == pytest.approx(c)
    error = d.std(axis=0, ddof=1) / np.sqrt(8)
    np.testing.assert_allclose(band.low, d.mean(axis=0) - c * error)
    np.testing.assert_allclose(band.high, d.mean(axis=0) + c * error)
    assert band.level == 0.95


def test_band_leaves_constant_columns_out():
    d = np.random.default_rng(3).standard_normal((9, 2))
    with_constant = np.column_stack([d, np.full(9, 0.3)])
    band, plain = simultaneous_band(with_constant), simultaneous_band(d)
    np.testing.assert_array_equal(band.kept, [True, True, False])
    assert band.critical == plain.critical
    assert np.isnan(band.low[2])
    only = simultaneous_band(np.ones((8, 2)))
    assert not only.kept.any()


def test_band_without_spread_in_a_flip_is_unbounded():
    d = np.array([[1.0], [-1.0], [1.0], [-1.0], [1.0], [-1.0]])
    assert simultaneous_band(d, 0.01).critical == np.inf


def test_bad_input_is_refused():
    with pytest.raises(StatisticsError, match="between 0 and 1"):
        holm([0.5, 1.2])
    with pytest.raises(StatisticsError, match="finite"):
        max_t([[1.0, np.nan]])
    with pytest.raises(StatisticsError, match="two seeds"):
        simultaneous_band([[1.0, 2.0]])
