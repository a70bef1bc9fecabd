import numpy as np
import pytest

from normbench.errors import StatisticsError
from normbench.stats import crossing_time, restricted_time, running_mean

NAN = float("nan")


def test_running_mean_is_shorter_at_the_start():
    np.testing.assert_allclose(running_mean([1, 2, 6, 4, 8.0], 3), [1, 1.5, 3, 4, 6])
    np.testing.assert_array_equal(running_mean([0.1, 0.7, 0.3], 1), [0.1, 0.7, 0.3])
    np.testing.assert_allclose(running_mean([[2, 4], [6, 8.0]], 9), [[2, 3], [6, 7]])


def test_running_mean_ends_at_the_first_value_that_is_not_finite():
    np.testing.assert_allclose(running_mean([1, 3, NAN, 5.0, 5.0], 2), [1, 2, NAN, NAN, NAN])
    np.testing.assert_allclose(running_mean([1, 3, np.inf, 5.0], 2), [1, 2, NAN, NAN])


def test_running_mean_against_a_plain_loop():
    m = np.random.default_rng(1).random((4, 20))
    expected = [[row[max(0, i - 4) : i + 1].mean() for i in range(20)] for row in m]
    np.testing.assert_allclose(running_mean(m, 5), expected, rtol=1e-12)


def test_crossing_is_interpolated_in_both_directions():
    x = [0, 10, 20, 40]
    assert crossing_time(x, [0.1, 0.3, 0.7, 0.8], 0.6, goal="max", window=1) == 17.5
    assert crossing_time(x, [0.9, 0.7, 0.3, 0.2], 0.4, goal="min", window=1) == 17.5
    assert crossing_time(x, [0.9, 0.7, 0.3, 0.2], 0.1, goal="min", window=1) == np.inf


def test_goals_mirror_each_other():
    rng = np.random.default_rng(2)
    curves = np.cumsum(rng.standard_normal((50, 30)) + 0.3, axis=1)
    x = np.arange(30)
    np.testing.assert_array_equal(
        crossing_time(x, curves, 4.0, goal="max"), crossing_time(x, -curves, -4.0, goal="min")
    )


def test_smoothing_delays_a_single_spike():
    spike = [0.1, 0.9, 0.1, 0.1, 0.9, 0.9, 0.9]
    x = np.arange(1, 8)
    assert crossing_time(x, spike, 0.8, goal="max", window=1) == pytest.approx(1 + 0.7 / 0.8)
    assert crossing_time(x, spike, 0.8, goal="max", window=3) > 6


def test_later_falls_do_not_undo_a_crossing():
    assert crossing_time([1, 2, 3], [0.1, 0.7, 0.2], 0.7, goal="max", window=1) == 2.0


def test_a_value_at_the_threshold_reaches_it_despite_rounding():
    mean = [0.6, 0.6, 0.6, 0.6]
    assert crossing_time([0, 1, 2, 3], mean, 0.6, goal="max", window=3) == 0.0
    assert crossing_time([0, 1, 2, 3], mean, 0.6, goal="min", window=3) == 0.0


def test_first_evaluation_beyond_gives_its_place():
    assert crossing_time([0, 1], [0.7, 0.8], 0.6, goal="max") == 0.0
    assert crossing_time([1, 2], [0.7, 0.8], 0.6, goal="max") == 1.0


def test_evaluations_after_the_budget_do_not_count():
    times = restricted_time([1, 2, 3], [0.1, 0.3, 0.9], 0.4, goal="max", budget=2, window=1)
    assert times.time == 2.0
    assert not times.reached


def test_no_crossing_into_or_past_a_value_that_is_not_finite():
    x = [1, 2, 3, 4]
    for curve in ([0.1, NAN, 0.9, 0.9], [0.1, np.inf, 0.9, 0.9], [NAN, 0.9, 0.9, 0.9]):
        times = restricted_time(x, curve, 0.6, goal="max", budget=4, window=1)
        assert times.time == 4.0
        assert not times.reached
        assert times.diverged


def test_divergence_after_the_budget_is_none():
    times = restricted_time([1, 2, 3], [0.1, 0.3, NAN], 0.6, goal="max", budget=2, window=1)
    assert not times.diverged
    assert times.time == 2.0


def test_seconds_differ_per_run_and_may_be_unknown_after_divergence():
    x = [[1.0, 2.0, 3.0], [2.0, 4.0, NAN]]
    curves = [[0.1, 0.5, 0.9], [0.1, 0.5, NAN]]
    times = restricted_time(x, curves, 0.3, goal="max", budget=3, window=1)
    np.testing.assert_allclose(times.time, [1.5, 3.0])
    np.testing.assert_array_equal(times.diverged, [False, True])


def test_a_curve_that_stops_early_must_be_marked():
    short = {"x": [1, 2, 3], "curves": [[0.1, 0.2, 0.3]], "threshold": 0.6}
    with pytest.raises(StatisticsError, match="evaluated up to the budget"):
        restricted_time(**short, goal="max", budget=30)
    times = restricted_time(**short, goal="max", budget=30, diverged=[True])
    assert times.time[0] == 30
    assert times.diverged[0]
    reached = restricted_time([1, 2, 3], [0.1, 0.2, 0.9], 0.3, goal="max", budget=30, window=1)
    assert reached.reached
    every_other = restricted_time([2, 4], [0.1, 0.2], 0.6, goal="max", budget=5)
    assert every_other.time == 5


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"x": [1, 2]}, "one place per evaluation"),
        ({"x": [1, 3, 2, 4]}, "must increase"),
        ({"x": [1, NAN, 3, 4]}, "finite where the curve is"),
        ({"threshold": NAN}, "threshold must be finite"),
        ({"budget": 0}, "budget must be"),
        ({"window": 0}, "window must be"),
        ({"goal": "down"}, "goal must be"),
        ({"curves": []}, "at least one evaluation"),
        ({"curves": ["a", "b"]}, "must be numbers"),
    ],
)
def test_bad_input_is_refused(change, said):
    arguments = {
        "x": [1, 2, 3, 4],
        "curves": [0.1, 0.2, 0.3, 0.4],
        "threshold": 0.3,
        "goal": "max",
        "budget": 4,
        **change,
    }
    with pytest.raises(StatisticsError, match=said):
        restricted_time(**arguments)


def test_the_evaluation_before_training_enters_no_running_mean():
    m = [[0.9, 0.5, 0.3, 0.1], [0.1, 0.5, 0.3, 0.1]]
    smooth = running_mean(m, 3, x=[0, 1, 2, 3])
    np.testing.assert_allclose(smooth, [[0.9, 0.5, 0.4, 0.3], [0.1, 0.5, 0.4, 0.3]])
    np.testing.assert_allclose(running_mean(m, 3, x=[1, 2, 3, 4])[0], [0.9, 0.7, 17 / 30, 0.3])
    by_run = running_mean(m, 3, x=[[0, 1, 2, 3], [1, 2, 3, 4]])
    np.testing.assert_allclose(by_run, [[0.9, 0.5, 0.4, 0.3], [0.1, 0.3, 0.3, 0.3]])
    # it is where the first interpolation begins
    time = crossing_time([0, 1, 2], [0.9, 0.5, 0.5], 0.7, goal="min", window=3)
    assert time == pytest.approx(0.5)
