from time import perf_counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import permutation_test

from normbench.errors import StatisticsError
from normbench.stats import sign_flip_p, sign_flip_p_columns
from normbench.stats.flip import DRAWS, joint_signs


def enumerated(tenths, alternative):
    """Exact reference: whole-number arithmetic over all sign vectors."""
    n = len(tenths)
    signs = 1 - 2 * ((np.arange(2**n)[:, None] >> np.arange(n)) & 1)
    sums, total = signs @ tenths, tenths.sum()
    hits = {
        "two-sided": abs(sums) >= abs(total),
        "greater": sums >= total,
        "less": sums <= total,
    }
    return hits[alternative].sum() / 2**n


@pytest.mark.parametrize("alternative", ["two-sided", "greater", "less"])
@pytest.mark.parametrize("n", [1, 2, 6, 9, 13, 14, 15, 18])
def test_equals_enumeration_with_ties_and_zeros(n, alternative):
    tenths = np.round(10 * (np.random.default_rng(n).standard_normal(n) + 0.3)).astype(int)
    tenths[n // 3] = 0 if n > 4 else tenths[n // 3]
    assert sign_flip_p(tenths / 10, alternative) == enumerated(tenths, alternative)


@pytest.mark.parametrize("alternative", ["two-sided", "greater", "less"])
def test_agrees_with_scipy(alternative):
    d = np.random.default_rng(3).standard_normal(11) + 0.4
    reference = permutation_test(
        (d,),
        np.mean,
        permutation_type="samples",
        n_resamples=np.inf,
        alternative=alternative,
    )
    assert sign_flip_p(d, alternative) == pytest.approx(reference.pvalue, abs=1e-12)


@given(
    st.lists(st.integers(-9, 9), min_size=1, max_size=18),
    st.sampled_from([-300, -30, 0, 30, 300]),
)
@settings(deadline=None, derandomize=True, max_examples=150)
def test_neither_scale_nor_sign_matters_and_one_sided_are_halves(d, exponent):
    values = np.array(d) / 10
    p = sign_flip_p(values)
    assert sign_flip_p(values * 10.0**exponent) == p
    assert sign_flip_p(-values) == p
    greater, less = sign_flip_p(values, "greater"), sign_flip_p(values, "less")
    assert greater == sign_flip_p(-values, "less")
    if sum(d) != 0:
        assert p == pytest.approx(2 * min(greater, less), rel=1e-15)
    else:
        assert p == 1.0


def test_convolution_reference_at_40():
    """Integer data at the largest exact n, against the exact distribution of Σ±d."""
    d = np.random.default_rng(5).integers(-6, 9, 40)
    size = int(np.abs(d).sum())
    counts = np.zeros(2 * size + 1, dtype=object)
    counts[size] = 1
    for value in np.abs(d):
        counts = np.roll(counts, value) + np.roll(counts, -value)
    sums = np.arange(-size, size + 1)
    expected = counts[np.abs(sums) >= abs(int(d.sum()))].sum() / 2**40
    assert sign_flip_p(d) == pytest.approx(expected, rel=1e-12)


def test_above_40_is_fixed_and_close_to_the_normal_limit():
    from scipy.stats import norm

    d = np.random.default_rng(8).standard_normal(60) + 0.25
    p = sign_flip_p(d)
    assert p == sign_flip_p(d)
    z = abs(d.sum()) / np.sqrt((d**2).sum())
    assert p == pytest.approx(2 * norm.sf(z), abs=0.004)
    assert p == pytest.approx(2 * min(sign_flip_p(d, "greater"), sign_flip_p(d, "less")))


def test_drawn_p_never_falls_below_one_share():
    assert sign_flip_p(np.ones(50)) == pytest.approx(1 / (DRAWS + 1))


def test_columns_equal_single_columns():
    rng = np.random.default_rng(2)
    for n in (8, 20, 45):
        d = rng.standard_normal((n, 4))
        for alternative in ("two-sided", "greater", "less"):
            single = [sign_flip_p(d[:, j], alternative) for j in range(4)]
            np.testing.assert_array_equal(sign_flip_p_columns(d, alternative), single)


def test_signs_are_complete_and_the_identity_stands_first():
    signs = joint_signs(6)
    full = np.concatenate([signs, -signs])
    assert len(np.unique(full, axis=0)) == 64
    assert (signs[0] == 1).all()
    drawn = joint_signs(14)
    assert drawn.shape == (DRAWS + 1, 14)
    assert (drawn[0] == 1).all()
    assert abs(drawn[1:].mean()) < 0.01


def test_thirty_seeds_take_under_twenty_milliseconds():
    d = np.random.default_rng(1).standard_normal(30)
    sign_flip_p(d)
    times = []
    for _ in range(7):
        start = perf_counter()
        sign_flip_p(d)
        times.append(perf_counter() - start)
    assert min(times) < 0.020


@pytest.mark.parametrize(
    ("d", "said"),
    [
        ([], "one-dimensional"),
        ([[1.0, 2.0]], "one-dimensional"),
        ([1.0, float("nan")], "finite"),
        ([1.0, float("inf")], "finite"),
        (["x"], "numbers"),
        ([1.0, None, "a"], "numbers"),
    ],
)
def test_bad_input_is_refused_with_rule_value_and_fix(d, said):
    with pytest.raises(StatisticsError, match=said) as caught:
        sign_flip_p(d)
    assert "received:" in str(caught.value)
    assert "likely fix:" in str(caught.value)


def test_unknown_alternative():
    with pytest.raises(StatisticsError, match="alternative must be"):
        sign_flip_p([1.0, 2.0], "both")
