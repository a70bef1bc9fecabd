"""Tabular data: houses, diabetes, their splits and their labels."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from normbench.catalog import DATASETS
from normbench.datasets.base import Arrays
from normbench.datasets.diabetes import read_diabetes
from normbench.datasets.split import REGRESSION_STRATA, strata_of, stratified_split
from normbench.datasets.training_split import label_constants, training_split
from normbench.training.data import prepare, split_of
from tests.builders import cell

LINEAR: dict[str, Any] = {"model": "linear", "norm": "none"}


def houses(**params: Any) -> Arrays:
    whole = {"items": 500, "area_unit": "m2", "version": 1} | params
    arrays: Arrays = DATASETS["houses"].load().load(whole)
    return arrays


def test_a_house_does_not_depend_on_how_many_are_drawn() -> None:
    few, many = houses(items=60), houses()
    assert (few.inputs == many.inputs[:60]).all()
    assert (few.labels == many.labels[:60]).all()


def test_houses_are_as_in_life() -> None:
    arrays = houses(items=5000)
    area, bedrooms = arrays.inputs[:, 0, 0, 0], arrays.inputs[:, 1, 0, 0]
    assert arrays.shape == (2, 1, 1)
    assert 25 <= area.min() < area.max() <= 300
    assert set(bedrooms) == {1, 2, 3, 4, 5, 6}
    assert 0.5 < np.corrcoef(area, bedrooms)[0, 1] < 0.9
    full = np.column_stack([area, bedrooms, np.ones(len(area))]).astype(float)
    found = np.linalg.lstsq(full, arrays.labels.astype(float), rcond=None)[0]
    assert found == pytest.approx([2.4, 28.0, 30.0], rel=0.15)


def test_version_1_of_the_houses_is_frozen() -> None:
    digest = hashlib.sha256(np.round(houses().labels, 2).tobytes()).hexdigest()
    assert digest[:16] == "663a3deec0187aca"


@pytest.mark.parametrize(
    ("unit", "square_metres"),
    [("ft2", 0.09290304), ("pyeong", 3.3057851), ("are", 100.0)],
)
def test_a_unit_changes_the_area_alone(unit: str, square_metres: float) -> None:
    one, other = houses(), houses(area_unit=unit)
    assert other.inputs[:, 0] * square_metres == pytest.approx(one.inputs[:, 0], rel=1e-5)
    assert (other.inputs[:, 1] == one.inputs[:, 1]).all()
    assert (other.labels == one.labels).all()
    split = [split_of(cell(dataset={"name": "houses", "area_unit": u}, **LINEAR)).train
             for u in ("m2", unit)]  # fmt: skip
    assert (split[0] == split[1]).all()


def test_diabetes_is_read_as_scikit_learns_loader_gives_it() -> None:
    from sklearn.datasets import load_diabetes

    data, target = read_diabetes()
    raw = load_diabetes(scaled=False)
    assert np.array_equal(data, raw.data)
    assert np.array_equal(target, raw.target)


def test_diabetes_is_not_scaled() -> None:
    arrays: Arrays = DATASETS["diabetes"].load().load({})
    age, sex = arrays.inputs[:, 0], arrays.inputs[:, 1]
    assert (len(arrays.labels), arrays.shape, len(arrays.features)) == (442, (10, 1, 1), 10)
    assert (age.min(), age.max()) == (19, 79)
    assert set(sex.ravel()) == {1, 2}
    assert (arrays.labels.min(), arrays.labels.max()) == (25, 346)


@pytest.mark.parametrize("name", ["houses", "diabetes"])
def test_labels_are_standardized_by_the_training_split_alone(name: str) -> None:
    data = prepare(cell(dataset=name, **LINEAR))
    assert data.task == "regression"
    assert data.train.y.dtype == torch.float32
    assert data.train.y.mean().item() == pytest.approx(0, abs=1e-5)
    assert data.label_variance == pytest.approx(1, abs=1e-5)
    assert abs(data.validation.y.mean().item()) > 1e-3


def test_labels_are_left_alone_where_the_data_set_does_not_ask() -> None:
    labels = np.array([1.0, 5.0], dtype=np.float32)
    arrays = Arrays("x", labels[:, None], labels, 1, task="regression")
    assert label_constants(arrays, np.array([0, 1])) == (0.0, 1.0)


@pytest.mark.parametrize("input_norm", ["raw", "centred", "per-channel", "global"])
@pytest.mark.parametrize("name", ["houses", "diabetes"])
def test_the_training_split_in_numpy_is_what_the_model_takes(name: str, input_norm: str) -> None:
    one = cell(dataset=name, input_norm=input_norm, **LINEAR)
    found, data = training_split(one), prepare(one)
    size = np.abs(found.inputs).max()
    assert data.train.x.flatten(1).numpy() == pytest.approx(found.inputs, rel=1e-4, abs=1e-5 * size)
    assert data.train.y.numpy() == pytest.approx(found.labels, abs=1e-5)
    if input_norm == "per-channel":
        assert found.inputs.std(axis=0) == pytest.approx(1, abs=1e-5)


def test_images_have_a_training_split_too() -> None:
    one = cell(input_norm="per-channel")
    found = training_split(one)
    assert found.inputs == pytest.approx(prepare(one).train.x.flatten(1).numpy(), abs=1e-5)
    assert found.features[:2] == ("x1", "x2")


@given(items=st.integers(20, 300), seed=st.integers(0, 1000))
def test_the_parts_of_a_regression_cover_the_range_of_the_labels_alike(
    items: int, seed: int
) -> None:
    labels = np.random.default_rng(seed).standard_exponential(items).astype(np.float32)
    strata = strata_of(labels, "regression")
    counts = np.bincount(strata, minlength=REGRESSION_STRATA)
    assert counts.max() - counts.min() <= 1
    order = np.argsort(labels, kind="stable")
    assert (np.diff(strata[order]) >= 0).all()
    split = stratified_split(strata, "toy", seed, 0.2, 0.2)
    whole = np.concatenate([split.train, split.validation, split.test])
    assert sorted(whole) == list(range(items))
    for part in (split.train, split.validation, split.test):
        found = np.bincount(strata[part], minlength=REGRESSION_STRATA)
        assert np.abs(found - counts * len(part) / items).max() < 2


def test_the_strata_of_a_classification_are_its_classes() -> None:
    labels = np.array([2, 0, 1, 1])
    assert strata_of(labels, "classification") is labels
