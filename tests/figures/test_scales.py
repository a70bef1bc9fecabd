"""Axes: round ticks, and every value somewhere between the ends."""

from __future__ import annotations

import math

import numpy as np
import pytest

from normbench.figures.scales import decades, linear, octaves, slots


@pytest.mark.parametrize(
    ("values", "ticks"),
    [
        ([0, 1], ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
        ([0, 20_000], ["0", "5,000", "10,000", "15,000", "20,000"]),
        ([-3, 4], ["-2", "0", "2", "4"]),
        ([0.031, 0.034], ["0.031", "0.032", "0.033", "0.034"]),
    ],
)
def test_linear_ticks_are_round(values, ticks):
    assert [label for _, label in linear(values).ticks] == ticks


@pytest.mark.parametrize("values", [[], [0.0], [5.0, 5.0], [math.nan, math.inf], [1e-300], [-7.0]])
@pytest.mark.parametrize("zero", [False, True])
def test_a_scale_of_next_to_nothing_is_still_a_scale(values, zero):
    scale = linear(values, zero=zero)
    assert scale.low < scale.high
    assert all(scale.low <= t <= scale.high for t, _ in scale.ticks)
    assert np.isfinite(scale.places([v for v in values if math.isfinite(v)])).all()


def test_values_outside_stand_at_the_edge_and_no_number_stays_none():
    found = linear([0, 1]).places([-9, 9, math.nan])
    assert found[:2].tolist() == [0, 1]
    assert math.isnan(found[2])


def test_octaves_are_equally_far_apart():
    scale = octaves([2, 4, 8, 32])
    places = scale.places([2, 4, 8, 16, 32])
    assert np.allclose(np.diff(places), np.diff(places)[0])
    assert [label for _, label in scale.ticks] == ["2", "4", "8", "32"]
    assert len(octaves(list(range(1, 101))).ticks) <= 12


@pytest.mark.parametrize("values", [[0.013, 2.1], [1, 1e9], [0.0, math.nan], [3.0]])
def test_decades_hold_every_positive_value(values):
    scale = decades(values)
    positive = [v for v in values if v > 0]
    assert all(scale.low < v < scale.high for v in positive)
    assert all(scale.low <= t <= scale.high for t, _ in scale.ticks)


@pytest.mark.parametrize(
    ("values", "ticks"),
    [
        ([0.1, 5], ["0.1", "0.2", "0.5", "1", "2", "5"]),
        ([3e-5, 2e-4], ["5·10⁻⁵", "10⁻⁴", "2·10⁻⁴"]),
        ([1e-4, 1e5], ["10⁻⁴", "0.01", "1", "100", "10000"]),
        ([1e-15, 1e3], ["10⁻¹⁵", "10⁻¹²", "10⁻⁹", "10⁻⁶", "0.001", "1", "1000"]),
        ([2.7, 4.3], ["3", "4"]),
    ],
)
def test_ticks_of_a_logarithmic_axis_are_few_and_at_least_two(values, ticks):
    assert [label for _, label in decades(values).ticks] == ticks


def test_slots_have_their_labels_in_the_middle():
    scale = slots(["a", "b"])
    assert scale.places([t for t, _ in scale.ticks]).tolist() == [0.25, 0.75]
