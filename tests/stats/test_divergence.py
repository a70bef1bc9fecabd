import numpy as np
import pytest
from scipy.stats import binomtest

from normbench.errors import StatisticsError
from normbench.stats import (
    clopper_pearson,
    compare_divergence,
    discordant_share,
    divergence_rate,
    mcnemar_exact_p,
    sign_flip_p,
)


@pytest.mark.parametrize(("k", "n"), [(0, 10), (3, 20), (20, 20), (7, 13), (1, 1)])
@pytest.mark.parametrize("alpha", [0.05, 0.1])
def test_interval_agrees_with_scipy_and_statsmodels(k, n, alpha):
    from statsmodels.stats.proportion import proportion_confint

    expected = binomtest(k, n).proportion_ci(1 - alpha, method="exact")
    np.testing.assert_allclose(clopper_pearson(k, n, alpha), expected, rtol=1e-9, atol=1e-12)
    other = proportion_confint(k, n, alpha, method="beta")
    np.testing.assert_allclose(clopper_pearson(k, n, alpha), other, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("a", "b"), [(1, 7), (0, 6), (4, 4), (3, 5), (0, 0), (11, 2)])
def test_mcnemar_agrees_with_statsmodels_and_with_the_flip_test(a, b):
    from statsmodels.stats.contingency_tables import mcnemar

    p = mcnemar_exact_p(a, b)
    if a + b:
        assert p == pytest.approx(mcnemar([[5, a], [b, 5]], exact=True).pvalue)
        assert p == pytest.approx(sign_flip_p([-1] * a + [1] * b + [0]))
    else:
        assert p == 1.0


def test_nothing_of_ten_still_allows_thirty_one_percent():
    result = divergence_rate([0] * 10)
    assert result.estimate == 0
    assert result.interval == (0.0, pytest.approx(0.308497107819))
    assert result.p is None


def test_comparison_shows_the_rates_and_favours_the_side_that_diverges_less():
    a = np.array([0] * 12)
    b = np.array([1] * 8 + [0] * 4)
    result = compare_divergence(a, b)
    assert result.estimate == 1.0
    assert result.p == pytest.approx(2 / 2**8)
    assert result.values == (*[1.0] * 8, *[0.0] * 4)
    assert result.details["rate_a"] == 0
    assert result.details["rate_b"] == pytest.approx(8 / 12)
    assert result.details["rate_b_interval"] == clopper_pearson(8, 12)
    assert result.interval == clopper_pearson(8, 8)
    assert compare_divergence(b, a).estimate == 0.0


def test_p_and_interval_agree_at_one_half():
    for k in range(9):
        result = discordant_share([1.0] * k + [-1.0] * (8 - k) + [0.0] * 3)
        low, high = result.interval
        assert (low <= 0.5 <= high) == (result.p > 0.05)


def test_fewer_than_six_discordant_pairs_are_refused():
    result = compare_divergence([0] * 10, [1] * 5 + [0] * 5)
    assert result.refusal == "5 discordant pairs, McNemar's test needs 6"
    assert result.p is None
    assert result.interval is None
    assert result.details["rate_b"] == 0.5
    assert np.isnan(compare_divergence([0] * 10, [0] * 10).estimate)
    assert compare_divergence([0] * 4, [1] * 4).refusal.startswith("4 seeds")


def test_bad_input_is_refused():
    with pytest.raises(StatisticsError, match="at most n"):
        clopper_pearson(4, 3)
    with pytest.raises(StatisticsError, match="whole number"):
        clopper_pearson(1.5, 3)
    with pytest.raises(StatisticsError, match="0 or 1"):
        divergence_rate([0, 0.5])
    with pytest.raises(StatisticsError, match="−1, 0 or 1"):
        discordant_share([0.5, 1.0])
    with pytest.raises(StatisticsError, match="same seeds"):
        compare_divergence([0, 1], [1])
