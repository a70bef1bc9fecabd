"""Which cells can run: data, batch sizes and shapes, found without training anything."""

from __future__ import annotations

import json

import numpy as np

from normbench.datasets.inputs import Moments, input_constants
from normbench.errors import DataMissingError, UndefinedError, UsageError
from normbench.models.describe import network
from normbench.models.plain import build
from normbench.protocol.schema import Cell
from normbench.training.curvature import check_curvature
from normbench.training.data import arrays_of, check_batch_size, split_of
from normbench.training.work import Checked


def content_of(cell: Cell) -> dict[str, str]:
    """The data set with its parameters, as JSON, and the key of its content."""
    name = json.dumps(cell.dataset.model_dump(mode="json"), sort_keys=True)
    return {name: arrays_of(cell).key}


def checked(cell: Cell) -> Checked:
    """What is found for a cell; nothing is raised for one that does not fit."""
    try:
        reason = check_cell(cell)
    except DataMissingError as error:
        return Checked("missing", str(error))
    except UsageError as error:
        return Checked("misfit", str(error))
    content = content_of(cell)
    return Checked("sound" if reason is None else "undefined", reason or "", content)


def check_cell(cell: Cell) -> str | None:
    """None if the cell can be trained, or why its configuration has no meaning.

    Raises :class:`~normbench.errors.DataMissingError` where its data are not on this machine
    and :class:`~normbench.errors.UsageError` where its values do not fit each other.
    """
    arrays = arrays_of(cell)
    check_batch_size(cell, len(split_of(cell).train))
    check_curvature(cell, arrays.task)
    if cell.input_norm == "imagenet":
        nothing = np.zeros(arrays.shape[0])
        input_constants(Moments(nothing, nothing), cell.input_norm)
    try:
        build(network(cell, arrays.shape, arrays.classes), "meta")
    except UndefinedError as error:
        return str(error)
    return None
