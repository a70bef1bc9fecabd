import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from normbench.errors import StatisticsError
from normbench.stats import chance_error, chance_loss, endpoint_values

NAN = float("nan")
X = [0, 1, 2, 3, 4]
CURVES = [
    [0.9, 0.5, 0.4, 0.2, 0.3],
    [0.9, 0.6, NAN, NAN, NAN],
    [0.9, 0.95, 0.98, 0.97, 0.99],
]


def test_final_averages_the_last_evaluations_and_clips():
    endpoint = endpoint_values("final", X, CURVES, goal="min", failure_score=0.9)
    np.testing.assert_allclose(endpoint.values, [0.3, 0.9, 0.9])
    np.testing.assert_array_equal(endpoint.diverged, [False, True, False])
    np.testing.assert_array_equal(endpoint.clipped, [False, False, True])
    assert (endpoint.n_clipped, endpoint.n_diverged) == (1, 1)
    last = endpoint_values("final", X, CURVES, goal="min", failure_score=0.9, window=1)
    assert last.values[0] == 0.3
    short = endpoint_values("final", [1], [[0.4]], goal="min", failure_score=0.9)
    assert short.values[0] == 0.4


def test_best():
    endpoint = endpoint_values("best", X, CURVES, goal="min", failure_score=0.9)
    np.testing.assert_allclose(endpoint.values, [0.2, 0.9, 0.9])
    accuracy = endpoint_values("best", X, 1 - np.array(CURVES), goal="max", failure_score=0.1)
    np.testing.assert_allclose(accuracy.values, [0.8, 0.1, 0.1])


def test_aulc_leaves_the_evaluation_before_training_out():
    endpoint = endpoint_values("aulc", X, CURVES, goal="min", failure_score=0.9)
    np.testing.assert_allclose(
        endpoint.values, [(0.5 + 0.4 + 0.2 + 0.3) / 4, (0.6 + 3 * 0.9) / 4, 0.9]
    )
    np.testing.assert_array_equal(endpoint.clipped, [False, False, True])
    early = endpoint_values("aulc", X, CURVES, goal="min", failure_score=0.9, budget=2)
    np.testing.assert_allclose(early.values[:2], [0.45, 0.75])


def test_divergence_after_a_bad_start_is_not_counted_as_clipped():
    endpoint = endpoint_values("aulc", [1, 2], [[0.99, NAN]], goal="min", failure_score=0.9)
    assert endpoint.values[0] == 0.9
    assert endpoint.n_clipped == 0


def test_time_takes_the_budget_after_divergence():
    endpoint = endpoint_values("time", X, CURVES, goal="min", threshold=0.45, budget=4, window=1)
    np.testing.assert_allclose(endpoint.values, [1.5, 4, 4])
    np.testing.assert_array_equal(endpoint.reached, [True, False, False])
    before = endpoint_values("time", X, CURVES, goal="min", threshold=0.75, budget=4, window=1)
    np.testing.assert_allclose(before.values, [0.375, 0.5, 4])
    np.testing.assert_array_equal(before.diverged, [False, True, False])


def test_diverged_is_zero_or_one():
    endpoint = endpoint_values("diverged", X, CURVES, goal="min")
    np.testing.assert_array_equal(endpoint.values, [0, 1, 0])


def test_a_run_marked_as_diverged_counts_as_such_with_a_finite_curve():
    marks = [True, False, False]
    endpoint = endpoint_values("final", X, CURVES, goal="min", failure_score=0.9, diverged=marks)
    np.testing.assert_allclose(endpoint.values, [0.9, 0.9, 0.9])
    assert endpoint.n_diverged == 2
    flags = endpoint_values("diverged", X, CURVES, goal="min", diverged=marks)
    np.testing.assert_array_equal(flags.values, [1, 1, 0])


def test_chance_scores():
    assert chance_error(10) == pytest.approx(0.9)
    assert chance_loss(10) == pytest.approx(np.log(10))
    with pytest.raises(StatisticsError, match="classes"):
        chance_error(1)


@pytest.mark.parametrize(
    ("kind", "change", "said"),
    [
        ("final", {}, "needs a declared failure_score"),
        ("aulc", {"failure_score": NAN}, "needs a declared failure_score"),
        ("time", {"budget": 4}, "needs a declared threshold"),
        ("time", {"threshold": 0.5}, "needs a declared budget"),
        ("last", {"failure_score": 0.9}, "endpoint must be one of"),
        ("final", {"failure_score": 0.9, "curves": [0.1, 0.2]}, "shape"),
        ("final", {"failure_score": 0.9, "goal": "low"}, "goal must be"),
        ("aulc", {"failure_score": 0.9, "x": [-4, -3, -2, -1, 0]}, "after training began"),
    ],
)
def test_missing_declarations_are_refused(kind, change, said):
    arguments = {"x": X, "curves": CURVES, "goal": "min", **change}
    with pytest.raises(StatisticsError, match=said):
        endpoint_values(kind, **arguments)


@given(
    start=st.floats(-1e6, 1e6),
    count=st.integers(1, 5),
    window=st.integers(1, 8),
    seed=st.integers(0, 10_000),
    goal=st.sampled_from(["min", "max"]),
)
def test_what_is_evaluated_before_training_is_no_result(start, count, window, seed, goal):
    rng = np.random.default_rng(seed)
    curves = rng.normal(size=(3, count))
    if count > 1:
        curves[1, -1] = NAN
    places = np.arange(1.0, count + 1.0)
    score = 10.0 if goal == "min" else -10.0
    for kind in ("final", "best", "aulc"):
        options = {"goal": goal, "window": window, "failure_score": score}
        plain = endpoint_values(kind, places, curves, **options)
        whole = endpoint_values(
            kind, [0.0, *places], np.column_stack([np.full(3, start), curves]), **options
        )
        np.testing.assert_array_equal(plain.values, whole.values)
        rows = np.tile([0.0, *places], (3, 1))
        again = endpoint_values(kind, rows, np.column_stack([np.full(3, start), curves]), **options)
        np.testing.assert_array_equal(plain.values, again.values)


def test_a_run_that_was_only_evaluated_before_training_has_no_value():
    for kind in ("final", "best", "aulc"):
        with pytest.raises(StatisticsError, match="after training began"):
            endpoint_values(kind, [0.0], [[0.5]], goal="min", failure_score=0.9)
    lost = endpoint_values("final", [0.0], [[NAN]], goal="min", failure_score=0.9)
    assert lost.values[0] == 0.9
