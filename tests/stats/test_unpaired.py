import numpy as np
import pytest
from scipy.stats import permutation_test, ttest_ind

from normbench.errors import StatisticsError
from normbench.stats import welch_permutation


def welch(a, b):
    return abs(ttest_ind(a, b, equal_var=False).statistic)


@pytest.mark.parametrize("seed", range(3))
def test_p_agrees_with_scipys_permutation_test(seed):
    rng = np.random.default_rng(seed)
    a, b = rng.standard_normal(5) + 1, 2 * rng.standard_normal(6)
    expected = permutation_test((a, b), welch, n_resamples=np.inf, alternative="greater")
    assert welch_permutation(a, b, goal="max").p == pytest.approx(expected.pvalue)


def test_interval_keeps_what_the_test_keeps():
    rng = np.random.default_rng(4)
    a, b = rng.standard_normal(7), rng.standard_normal(6)
    result = welch_permutation(a, b, goal="max")
    low, high = result.interval
    width = high - low
    assert low < result.estimate < high
    assert welch_permutation(a - low - 1e-4 * width, b, goal="max").p > 0.05
    assert welch_permutation(a - low + 1e-4 * width, b, goal="max").p <= 0.05
    assert welch_permutation(a - high + 1e-4 * width, b, goal="max").p > 0.05
    assert welch_permutation(a - high - 1e-4 * width, b, goal="max").p <= 0.05


def test_goal_turns_the_sign():
    a, b = np.arange(5.0), np.arange(5.0) + 2
    assert welch_permutation(a, b, goal="min").estimate == 2
    assert welch_permutation(a, b, goal="max").estimate == -2


def test_many_runs_are_drawn_and_deterministic():
    rng = np.random.default_rng(5)
    a, b = rng.standard_normal(15), rng.standard_normal(14)
    first, second = (welch_permutation(a, b, goal="min") for _ in range(2))
    assert first == second
    assert first.p == pytest.approx(ttest_ind(a, b, equal_var=False).pvalue, abs=0.02)


def test_three_runs_per_group_are_too_few():
    result = welch_permutation([1.0, 2.0, 3.0], np.arange(9.0), goal="min")
    assert "at least 4 per group" in result.refusal
    assert result.p is None
    with pytest.raises(StatisticsError, match="goal"):
        welch_permutation(np.arange(5.0), np.arange(5.0), goal="up")
