from time import perf_counter

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.stats import ttest_1samp

from normbench.errors import StatisticsError
from normbench.stats import sign_flip_p, subset_mean_interval, subset_ratio_interval, t_interval


def listed(a, b, alpha):
    """Reference: all subset ratios, sorted."""
    n = len(a)
    marks = (np.arange(1, 2**n)[:, None] >> np.arange(n)) & 1
    ratios = np.sort((marks @ np.asarray(a)) / (marks @ np.asarray(b)))
    k = int(alpha * 2**n / 2)
    return (ratios[k - 1], ratios[2**n - k - 1]) if k else None


values = st.one_of(
    st.integers(-12, 12).map(lambda v: v / 10),
    st.sampled_from([0.0, 1e-9, 1.0, -1.0, 1e6]),
    st.floats(-5, 5, allow_subnormal=False),
)


@given(
    st.lists(values, min_size=6, max_size=13),
    st.sampled_from([0.05, 0.1, 0.01, 0.25, 0.0625]),
    st.sampled_from([0.0, 0.1, -0.3, 1.0]),
    st.sampled_from([1e-8, 1.0, 1e7]),
)
@settings(deadline=None, derandomize=True, max_examples=400)
def test_test_and_interval_never_disagree(d, alpha, null, scale):
    d, null = np.array(d) * scale, null * scale
    interval = subset_mean_interval(d, alpha, null=null)
    p = sign_flip_p(d - null)
    if interval is None:
        assert p > alpha
    else:
        assert (interval[0] <= null <= interval[1]) == (p > alpha)


@given(
    st.lists(st.integers(-8, 9), min_size=17, max_size=22),
    st.booleans(),
    st.integers(0, 2**32 - 1),
)
@settings(deadline=None, derandomize=True, max_examples=80)
def test_search_agrees_with_the_test_at_and_beside_its_ends(d, ties, seed):
    d = np.array(d) / 10
    if not ties:
        d = d + np.random.default_rng(seed).standard_normal(d.size)
    low, high = subset_mean_interval(d)
    assert low <= d.mean() + 1e-12
    assert high >= d.mean() - 1e-12
    assume(high - low > 1e-6)
    step = 1e-7 * (high - low)
    for inside, outside in ((low + step, low - step), (high - step, high + step)):
        assert sign_flip_p(d - inside) > 0.05
        assert sign_flip_p(d - outside) <= 0.05


@pytest.mark.parametrize("n", [17, 18, 19])
@pytest.mark.parametrize("kind", ["normal", "ties", "outlier", "ratio"])
def test_search_finds_the_listed_order_statistic(n, kind):
    rng = np.random.default_rng(n)
    a, b = rng.standard_normal(n) + 3, np.ones(n)
    if kind == "ties":
        a = np.round(a, 1)
    elif kind == "outlier":
        a[0] = 500.0
    elif kind == "ratio":
        b = rng.random(n) + 0.5
    for alpha in (0.05, 0.002):
        expected = listed(a, b, alpha)
        if kind == "ratio":
            found = subset_ratio_interval(a, b, alpha)
        else:
            found = subset_mean_interval(a, alpha)
        np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("n", [6, 10, 16])
def test_listing_gives_the_order_statistics(n):
    d = np.random.default_rng(n).standard_normal(n)
    np.testing.assert_allclose(subset_mean_interval(d), listed(d, np.ones(n), 0.05), rtol=1e-12)


def test_drawn_interval_inverts_the_drawn_test():
    rng = np.random.default_rng(4)
    for d in (rng.standard_normal(45) + 0.2, np.round(rng.standard_normal(60), 1)):
        low, high = subset_mean_interval(d)
        step = 1e-7 * (high - low)
        assert sign_flip_p(d - (low + step)) > 0.05 >= sign_flip_p(d - (low - step))
        assert sign_flip_p(d - (high - step)) > 0.05 >= sign_flip_p(d - (high + step))


def test_drawn_interval_is_close_to_t_for_normal_data():
    d = np.random.default_rng(6).standard_normal(80)
    np.testing.assert_allclose(subset_mean_interval(d), t_interval(d), atol=0.02)


def test_moves_and_scales_with_the_data():
    d = np.random.default_rng(7).standard_normal(12)
    low, high = subset_mean_interval(d)
    np.testing.assert_allclose(
        subset_mean_interval(3 * d + 5), (3 * low + 5, 3 * high + 5), rtol=1e-12
    )
    np.testing.assert_allclose(subset_mean_interval(-d), (-high, -low), rtol=1e-12)


def test_constant_differences_give_a_point():
    assert subset_mean_interval(np.full(8, 2.5)) == (2.5, 2.5)
    assert subset_mean_interval(np.full(20, 2.5)) == (2.5, 2.5)
    assert subset_mean_interval(np.zeros(20)) == (0.0, 0.0)


def test_too_few_seeds_have_no_interval():
    assert subset_mean_interval([1.0, 2.0, 3.0, 4.0, 5.0]) is None
    assert subset_mean_interval(np.arange(8.0), 0.001) is None


def test_student_interval_is_scipys():
    d = np.random.default_rng(9).standard_normal(9)
    expected = ttest_1samp(d, 0).confidence_interval(0.9)
    np.testing.assert_allclose(t_interval(d, 0.1), expected, rtol=1e-12)


def test_thirty_seeds_take_under_a_second():
    for d in (
        np.random.default_rng(1).standard_normal(30),
        np.round(np.random.default_rng(1).standard_normal(30), 1),
    ):
        start = perf_counter()
        subset_mean_interval(d)
        assert perf_counter() - start < 1.0


def test_bad_input_is_refused():
    with pytest.raises(StatisticsError, match="alpha must lie"):
        subset_mean_interval([1.0] * 8, 0.0)
    with pytest.raises(StatisticsError, match="denominators"):
        subset_ratio_interval([1.0] * 8, [0.0] * 8)
    with pytest.raises(StatisticsError, match="same seeds"):
        subset_ratio_interval([1.0] * 8, [1.0] * 7)
    with pytest.raises(StatisticsError, match="two seeds"):
        t_interval([1.0])
