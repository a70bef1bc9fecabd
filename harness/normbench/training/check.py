"""Which cells can run: data, batch sizes and shapes, found without training anything."""

from __future__ import annotations

import numpy as np

from normbench.datasets.content import Content, content_of, name_of
from normbench.datasets.inputs import Moments, input_constants
from normbench.errors import DataMissingError, UndefinedError, UsageError
from normbench.models.describe import network
from normbench.models.plain import build
from normbench.protocol.schema import Cell
from normbench.training.curvature import check_curvature
from normbench.training.data import arrays_of, check_batch_size, split_of
from normbench.training.work import Checked, Group


def _content(cell: Cell) -> dict[str, Content]:
    """The name of a cell's data set with its parameters, and its content."""
    return {name_of(cell.dataset.name, cell.dataset.params): content_of(arrays_of(cell))}


def check_data(group: Group) -> None:
    """Raise :class:`UsageError` where data are not those that were checked before training.

    A worker may have loaded them later than that.
    """
    for cell in {run.cell_hash: run.cell for run in group.runs}.values():
        wanted = group.data.get(name_of(cell.dataset.name, cell.dataset.params))
        if wanted is not None and arrays_of(cell).sha256 != wanted:
            raise UsageError(
                f"the data set {cell.dataset.name} has changed since the sweep began; bring the "
                "earlier data back and run the same command again"
            )


def checked(cell: Cell) -> Checked:
    """What is found for a cell; nothing is raised for one that does not fit."""
    try:
        reason = check_cell(cell)
        content = _content(cell)
    except DataMissingError as error:
        return Checked("missing", str(error))
    except UsageError as error:
        return Checked("misfit", str(error))
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
