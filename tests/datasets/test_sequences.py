"""Sequences: the digits read step by step, and the adding problem."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from normbench.datasets.adding import ADDING
from normbench.datasets.digit_sequences import DIGITS_PIXELS, DIGITS_ROWS
from normbench.training.data import prepare
from tests.builders import cell


def test_digits_are_read_from_the_top_left_in_reading_order() -> None:
    from sklearn.datasets import load_digits

    raw = load_digits()
    rows, pixels = DIGITS_ROWS.load({"items": 1797}), DIGITS_PIXELS.load({"items": 1797})
    assert (rows.shape, pixels.shape) == ((8, 8), (1, 64))
    for item in (0, 5, 1796):
        for t in range(8):
            assert rows.inputs[item, :, t].tolist() == (raw.images[item, t] / 16).tolist()
        assert pixels.inputs[item, 0].tolist() == (raw.images[item].ravel() / 16).tolist()
    assert rows.labels.tolist() == pixels.labels.tolist() == raw.target.tolist()
    assert rows.inputs.dtype == np.float32
    assert rows.key != pixels.key
    assert DIGITS_ROWS.missing({}) is None


def test_fewer_digits_are_the_same_digits_in_every_reading() -> None:
    rows, pixels = DIGITS_ROWS.load({"items": 100}), DIGITS_PIXELS.load({"items": 100})
    assert np.array_equal(rows.inputs.transpose(0, 2, 1).reshape(100, 1, 64), pixels.inputs)


@settings(max_examples=25, deadline=None)
@given(items=st.integers(50, 80), length=st.integers(2, 40), test_length=st.integers(2, 40))
def test_the_label_is_the_sum_of_the_marked_values(
    items: int, length: int, test_length: int
) -> None:
    found = ADDING.load({"items": items, "length": length, "test_length": test_length})
    assert (found.task, found.classes, found.tolerance) == ("regression", 1, 0.04)
    assert found.test_inputs is not None
    for inputs, steps in ((found.inputs, length), (found.test_inputs, test_length)):
        assert inputs.shape == (items, 2, steps)
        assert inputs.dtype == found.labels.dtype == np.float32
        values, marks = inputs[:, 0], inputs[:, 1]
        assert ((values >= 0) & (values < 1)).all()
        assert set(np.unique(marks)) <= {0.0, 1.0}
        assert (marks[:, : steps // 2].sum(1) == 1).all()
        assert (marks[:, steps // 2 :].sum(1) == 1).all()
        assert np.allclose((values * marks).sum(1), found.labels, rtol=0, atol=1e-6)


def test_the_adding_problem_is_drawn_as_it_says() -> None:
    found = ADDING.load({"items": 4000, "length": 10, "test_length": 30})
    again = ADDING.load({"items": 4000, "length": 10, "test_length": 30})
    longer = ADDING.load({"items": 4000, "length": 10, "test_length": 40})
    assert np.array_equal(found.inputs, again.inputs)
    assert np.array_equal(found.inputs, longer.inputs)
    assert found.key != longer.key
    assert np.array_equal(found.labels, longer.labels)
    # the sum of two uniform numbers has mean 1 and variance 1/6: always answering 1 costs 1/6
    assert found.labels.mean() == pytest.approx(1.0, abs=0.03)
    assert ((found.labels - 1) ** 2).mean() == pytest.approx(1 / 6, rel=0.05)
    share = found.inputs[:, 1].mean(0)
    assert share == pytest.approx(np.full(10, 0.2), abs=0.03)


def test_longer_sequences_are_in_the_test_split_alone() -> None:
    dataset = {"name": "adding", "items": 60, "length": 6, "test_length": 15}
    data = prepare(cell(dataset=dataset, model="lstm", norm="none"))
    assert data.train.shape == data.validation.shape == (2, 6)
    assert data.test.shape == (2, 15)
    assert data.shape == (2, 6)
    raw = ADDING.load({k: v for k, v in dataset.items() if k != "name"})
    # the same items as without other inputs, scaled by the training split's constants
    x = data.test.x.numpy()
    marked = x[:, 1] == x[:, 1].max()
    assert (marked.sum(1) == 2).all()
    assert raw.test_inputs is not None
    scale = data.train.x[:, 0]
    assert scale.mean().item() == pytest.approx(0, abs=1e-5)
    assert scale.std(correction=0).item() == pytest.approx(1, abs=1e-4)
    shown = sorted(data.test.y.tolist())
    assert set(shown) <= set(raw.labels.tolist())
    values = x[:, 0][marked].reshape(-1, 2).sum(1)
    slope = np.polyfit(data.test.y.numpy(), values, 1)
    assert np.allclose(np.polyval(slope, data.test.y.numpy()), values, atol=1e-4)
