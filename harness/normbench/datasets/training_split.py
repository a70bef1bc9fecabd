"""The training items of a tabular data set as a model takes them, in numpy alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from normbench.catalog import DATASETS
from normbench.datasets.base import Arrays
from normbench.datasets.inputs import channel_moments, input_constants, unit_factors
from normbench.datasets.split import split_of
from normbench.errors import DataMissingError
from normbench.protocol.schema import Cell


@dataclass(frozen=True)
class TrainingSplit:
    """Inputs (items, features) and labels (items,) in float64, with the names of the features."""

    inputs: NDArray[np.float64]
    labels: NDArray[np.float64]
    features: tuple[str, ...]


def label_constants(arrays: Arrays, train: NDArray[np.int64]) -> tuple[float, float]:
    """Shift and scale of a data set's labels: the training split's mean and deviation, or 0 and 1.

    A label y becomes (y − shift)/scale where the data set asks for standardized labels.
    """
    if not arrays.standardized:
        return 0.0, 1.0
    labels = arrays.labels[train].astype(np.float64)
    return float(labels.mean()), float(labels.std()) or 1.0


def training_split(cell: Cell) -> TrainingSplit:
    """The training items of a cell, each input as one row of features.

    Raises :class:`~normbench.errors.DataMissingError` where the data are not on this machine, and
    where code of the user's own makes them: none is run here.
    """
    if getattr(cell.dataset, "target", ""):
        raise DataMissingError(f"the data of {cell.dataset.label} are not read here")
    dataset = DATASETS[cell.dataset.name].load()
    missing = dataset.missing(cell.dataset.params)
    if missing:
        raise DataMissingError(f"the data set {cell.dataset.name} is not here: {missing}")
    arrays: Arrays = dataset.load(cell.dataset.params)
    split = split_of(
        arrays, cell.split_seed, cell.validation_fraction, cell.test_fraction, cell.train_size
    )
    factors = unit_factors(cell.input_units, arrays.shape[0])
    moments = channel_moments(arrays.inputs, split.train)
    shape = (1, -1, *([1] * (arrays.inputs.ndim - 2)))
    factor, shift, scale = (
        c.astype(np.float64).reshape(shape)
        for c in (factors, *input_constants(moments, cell.input_norm, factors))
    )
    stored = arrays.inputs[split.train].astype(np.float64)
    stored /= 255.0 if arrays.inputs.dtype == np.uint8 else 1.0
    items = ((stored * factor - shift) / scale).reshape(len(split.train), -1)
    middle, spread = label_constants(arrays, split.train)
    return TrainingSplit(
        items,
        (arrays.labels[split.train].astype(np.float64) - middle) / spread,
        arrays.features or tuple(f"x{i + 1}" for i in range(items.shape[1])),
    )
