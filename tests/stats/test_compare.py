import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from normbench.errors import StatisticsError
from normbench.stats import paired, paired_difference, seed_correlation, sign_flip_p

A = [91.2, 90.1, 92.6, 90.3, 91.4, 92.2, 90.3, 91.6]
B = [90.0, 90.5, 90.5, 90.0, 90.5, 90.5, 90.5, 90.5]


def test_everything_that_must_stand_beside_a_mean():
    result = paired(A, B, goal="max", labels=("group", "batch"), metric="accuracy")
    np.testing.assert_allclose(result.values, np.subtract(A, B))
    assert result.n == 8
    assert result.estimate == pytest.approx(0.8375)
    assert result.p == 0.046875
    np.testing.assert_allclose(result.interval, (0.05, 4.9 / 3), rtol=1e-12)
    assert result.level == 0.95
    assert result.details["sd"] == pytest.approx(np.std(np.subtract(A, B), ddof=1))
    assert result.details["effect_size_d_z"] == pytest.approx(0.8375 / result.details["sd"])
    assert result.details["seed_correlation"] == pytest.approx(np.corrcoef(A, B)[0, 1])
    assert result.details["n_nonzero"] == 8
    assert "group minus batch in accuracy" in result.estimand
    assert len(result.assumptions) == 3


def test_goal_turns_the_sign_and_positive_means_a_is_better():
    up, down = paired(A, B, goal="max"), paired(A, B, goal="min")
    assert up.estimate == -down.estimate
    assert up.p == down.p
    assert up.interval == (-down.interval[1], -down.interval[0])
    assert "B minus A" in down.estimand


def test_swapping_the_sides_turns_the_sign_only():
    one, other = paired(A, B, goal="max"), paired(B, A, goal="max")
    assert one.estimate == -other.estimate
    assert one.p == other.p


@given(st.lists(st.integers(-9, 9), min_size=6, max_size=14), st.integers(-3, 3))
@settings(deadline=None, derandomize=True, max_examples=150)
def test_p_and_interval_agree_at_the_null(d, null):
    result = paired_difference(np.array(d) / 10, null=null / 10)
    if result.refusal is not None:
        assert result.p is None
        assert result.interval is None
    else:
        low, high = result.details.get("flip_interval", result.interval)
        assert (low <= null / 10 <= high) == (result.p > 0.05)


@pytest.mark.parametrize("n", [1, 2, 5])
def test_fewer_than_six_seeds_are_refused_with_their_values_shown(n):
    result = paired_difference(np.arange(1.0, n + 1))
    assert result.p is None
    assert result.interval is None
    assert result.refusal == f"{n} seeds, at least 6 are needed for a p-value or a flip interval"
    assert result.values == tuple(np.arange(1.0, n + 1))
    assert result.estimate == pytest.approx((n + 1) / 2)


def test_too_few_nonzero_differences_cannot_reach_alpha():
    result = paired_difference([0, 0, 0, 0, 1, 1, 2, 1, 3])
    assert "cannot reach α = 0.05 at this n" in result.refusal
    assert result.p is None
    assert paired_difference([0, 0, 0, 1, 1, 1, 2, 1, 3]).p == pytest.approx(2 / 2**6)


def test_a_level_that_the_seeds_cannot_reach_is_refused():
    assert "cannot reach" in paired_difference(np.arange(1.0, 9.0), alpha=0.001).refusal


def test_null_shifts_the_test_and_not_the_estimate():
    d = np.array(A) - B
    result = paired_difference(d, null=0.5)
    assert result.p == sign_flip_p(d - 0.5)
    assert result.estimate == pytest.approx(d.mean())
    assert result.interval == paired_difference(d).interval


def test_divergence_is_shown_and_marks_small_samples_fragile():
    flags = [1, 0, 0, 0, 0, 0, 0, 0]
    result = paired(A, B, goal="max", diverged_b=flags)
    assert result.details["fragile"] is True
    assert result.details["diverged_B"] == "1 of 8"
    assert result.details["diverged_A"] == "0 of 8"
    assert any("fragile" in str(text) for text in result.warnings)
    many = paired_difference(np.random.default_rng(1).standard_normal(20), diverged=2)
    assert many.details["fragile"] is False
    assert any("2 runs diverged" in str(text) for text in many.warnings)
    assert "fragile" not in paired(A, B, goal="max").details


def test_ties_are_named():
    result = paired_difference([0, 1, 1, 1, 2, 1, 1, 3])
    assert any("1 of 8 differences equal the null value" in str(text) for text in result.warnings)


def test_student_interval_only_on_request_and_labelled():
    assert "t_interval" not in paired(A, B, goal="max").details
    details = paired(A, B, goal="max", normal_interval=True).details
    np.testing.assert_allclose(details["t_interval"], (0.1005845294547, 1.5744154705453))
    assert details["t_interval_note"] == "assumes normality"


def test_seed_correlation():
    assert seed_correlation([1.0, 1.0, 1.0], [1.0, 2.0, 3.0]) is None
    assert seed_correlation([1.0, 2.0, 3.0], [2.0, 4.0, 6.0]) == pytest.approx(1.0)


def test_more_than_forty_seeds_say_that_signs_are_drawn():
    result = paired_difference(np.random.default_rng(3).standard_normal(41))
    assert any("drawn sign patterns" in str(text) for text in result.warnings)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"b": B[:-1]}, "same seeds"),
        ({"goal": "up"}, "goal must be"),
        ({"a": [float("nan"), *A[1:]]}, "finite"),
        ({"alpha": 1.5}, "alpha must lie"),
        ({"diverged_a": [2] * 8}, "0 or 1"),
        ({"diverged_a": [1] * 7}, "same seeds"),
    ],
)
def test_bad_input_is_refused(change, said):
    arguments = {"a": A, "b": B, "goal": "max", **change}
    with pytest.raises(StatisticsError, match=said):
        paired(arguments.pop("a"), arguments.pop("b"), **arguments)
