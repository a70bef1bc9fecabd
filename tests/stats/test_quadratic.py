"""Closed forms of gradient descent on least squares, against descending step by step."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from normbench.errors import StatisticsError
from normbench.stats.quadratic import Quadratic, rule_of_thumb, squared_error

PROBLEMS = st.tuples(st.integers(0, 2**32 - 1), st.integers(6, 40), st.integers(1, 4))


def problem(drawn: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Inputs with features of different sizes that share a part, labels, and a start."""
    seed, items, features = drawn
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((items, features)) + rng.standard_normal((items, 1))
    x = x * 10.0 ** rng.uniform(-1, 1, features) + rng.uniform(-2, 2, features)
    return x, rng.standard_normal(items), rng.standard_normal(features + 1)


def descend(x: np.ndarray, y: np.ndarray, start: np.ndarray, rate: float, steps: int) -> np.ndarray:
    """The weights of gradient descent on the mean squared error, one step after the other."""
    full = np.column_stack([x, np.ones(len(x))])
    path = [start]
    for _ in range(steps):
        gradient = 2.0 * full.T @ (full @ path[-1] - y) / len(y)
        path.append(path[-1] - rate * gradient)
    return np.array(path)


@settings(max_examples=60, deadline=None)
@given(drawn=PROBLEMS, rate=st.floats(0.1, 1.9))
def test_the_path_and_the_excess_are_those_of_descending(
    drawn: tuple[int, int, int], rate: float
) -> None:
    x, y, start = problem(drawn)
    loss = squared_error(x, y)
    path = descend(x, y, start, rate / loss.largest, 12)
    scale = np.abs(path).max()
    assert loss.path(start, 12, rate) == pytest.approx(path, rel=1e-7, abs=1e-8 * scale)
    full = np.column_stack([x, np.ones(len(x))])
    losses = ((full @ path.T - y[:, None]) ** 2).mean(axis=0)
    wanted = losses - loss.least
    assert loss.excess(path) == pytest.approx(wanted, rel=1e-6, abs=1e-9 * losses[0])
    assert loss.curve(start, range(13), rate) == pytest.approx(
        wanted, rel=1e-6, abs=1e-9 * losses[0]
    )


@settings(max_examples=60, deadline=None)
@given(drawn=PROBLEMS, rate=st.floats(0.2, 1.8), share=st.floats(0.05, 0.9))
def test_the_steps_to_a_level_are_the_first_at_which_descending_is_there(
    drawn: tuple[int, int, int], rate: float, share: float
) -> None:
    x, y, start = problem(drawn)
    loss = squared_error(x, y)
    level = share * float(loss.excess(start))
    steps = loss.steps_to(level, start, rate)
    if steps > 300:
        assert loss.curve(start, 300, rate) > level
        return
    excess = loss.excess(descend(x, y, start, rate / loss.largest, int(steps) + 1))
    assert excess[int(steps)] <= level * (1 + 1e-6)
    assert steps == 0 or excess[int(steps) - 1] > level * (1 - 1e-6)


def test_the_minimum_and_the_least_loss_are_those_of_scikit_learn() -> None:
    from sklearn.linear_model import LinearRegression
    from sklearn.metrics import mean_squared_error

    x, y, _ = problem((3, 40, 3))
    fitted = LinearRegression().fit(x, y)
    loss = squared_error(x, y)
    assert loss.minimum == pytest.approx([*fitted.coef_, fitted.intercept_])
    assert loss.least == pytest.approx(mean_squared_error(y, fitted.predict(x)))


def test_centring_and_scaling_uncorrelated_features_makes_all_directions_alike() -> None:
    signs = np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]], dtype=float)
    assert squared_error(signs, np.arange(4)).condition == pytest.approx(1.0)
    assert squared_error(signs * [30, 1], np.arange(4)).condition == pytest.approx(900.0)


def test_a_flat_direction_has_no_curvature_and_no_excess() -> None:
    loss = squared_error(np.ones((5, 1)), np.arange(5))  # the feature does what the bias does
    assert loss.condition == math.inf
    assert loss.eigenvalues[0] == 0.0
    assert loss.excess(loss.minimum + np.array([1.0, -1.0])) == pytest.approx(0.0, abs=1e-12)
    assert rule_of_thumb(loss.condition, 0.1) == math.inf


@pytest.mark.parametrize("condition", [10, 100, 10_000])
def test_the_rule_of_thumb_holds_where_the_flattest_direction_has_all_the_error(
    condition: float,
) -> None:
    loss = Quadratic(np.diag([1.0, 1.0 / condition]), np.zeros(2), 0.0)
    start = np.array([0.0, 3.0])
    steps = loss.steps_to(1e-3 * float(loss.excess(start)), start)
    assert steps == pytest.approx(rule_of_thumb(condition, 1e-3), rel=0.06)


def test_above_rate_one_the_slower_of_both_ends_counts() -> None:
    loss = Quadratic(np.diag([1.0, 0.5]), np.zeros(2), 0.0)
    start = np.array([3.0, 0.0])
    steps = loss.steps_to(1e-3 * float(loss.excess(start)), start, 1.9)
    assert steps == pytest.approx(rule_of_thumb(2.0, 1e-3, 1.9), rel=0.05)
    assert rule_of_thumb(1e6, 1e-3, 1.9) == pytest.approx(rule_of_thumb(1e6, 1e-3) / 1.9)
    assert rule_of_thumb(2.0, 1e-3, 2.0) == math.inf


def test_rates_from_two_on_do_not_converge() -> None:
    loss = Quadratic(np.diag([1.0, 0.5]), np.zeros(2), 0.0)
    assert loss.steps_to(1e-3, np.ones(2), 2.0) == math.inf
    assert loss.steps_to(1e-3, np.zeros(2), 2.0) == 0
    assert loss.steps_to(1e-3, np.ones(2), 1.99) < math.inf


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: squared_error(np.ones(4), np.ones(4)), "items, features"),
        (lambda: squared_error(np.ones((4, 1)), np.ones(3)), "items, features"),
        (lambda: squared_error([[np.nan]], [1.0]), "finite"),
        (lambda: squared_error([[1.0], [2.0]], [1, 2]).steps_to(0.0, [1, 1]), "level"),
        (lambda: squared_error([[1.0], [2.0]], [1, 2]).curve([1, 1], 3, 0.0), "rate"),
        (lambda: rule_of_thumb(0.0, 0.1), "condition"),
        (lambda: rule_of_thumb(2.0, 0.0), "tolerance"),
    ],
)
def test_bad_input_is_named(call, said) -> None:
    with pytest.raises(StatisticsError, match=said):
        call()
