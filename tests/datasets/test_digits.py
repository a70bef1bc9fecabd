"""The digits, against scikit-learn's own copy."""

from __future__ import annotations

import numpy as np
import pytest

from normbench.datasets.base import Arrays
from normbench.datasets.digits import DIGITS


@pytest.fixture(scope="module")
def raw() -> tuple[np.ndarray, np.ndarray]:
    from sklearn.datasets import load_digits

    return load_digits(return_X_y=True)


def test_all_digits_are_those_of_scikit_learn(raw: tuple[np.ndarray, np.ndarray]) -> None:
    found = DIGITS.load({"items": 1797})
    assert found.shape == (1, 8, 8)
    assert found.inputs.dtype == np.float32
    assert found.labels.dtype == np.int64
    assert np.array_equal(found.inputs.reshape(1797, 64) * 16, raw[0])
    assert np.array_equal(found.labels, raw[1])
    assert found.classes == 10


@pytest.mark.parametrize("items", [50, 100, 1000])
def test_fewer_digits_are_a_stratified_part_of_them(
    raw: tuple[np.ndarray, np.ndarray], items: int
) -> None:
    found = DIGITS.load({"items": items})
    assert len(found.inputs) == len(found.labels) == items
    known = {(row.tobytes(), label) for row, label in zip(*raw, strict=True)}
    rows = (found.inputs.reshape(items, 64) * 16).astype(float)
    assert {(r.tobytes(), y) for r, y in zip(rows, found.labels, strict=True)} <= known
    shares = np.bincount(raw[1]) * items / 1797
    assert np.abs(np.bincount(found.labels) - shares).max() < 1


def test_the_key_names_the_content() -> None:
    keys = {DIGITS.load({"items": items}).key for items in (50, 60, 1797)}
    assert len(keys) == 3


def test_digits_are_never_missing() -> None:
    assert DIGITS.missing({"items": 50}) is None


def test_the_shape_is_that_of_one_input() -> None:
    assert Arrays("k", np.zeros((5, 3, 2, 4)), np.zeros(5, dtype=np.int64), 2).shape == (3, 2, 4)
