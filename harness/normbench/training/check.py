"""Which cells can run: data, batch sizes and shapes, found without training anything."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from normbench.catalog import MODELS
from normbench.catalog.entries import OWN_NETWORKS, TOKENS
from normbench.datasets.base import Arrays
from normbench.datasets.content import Content, content_of, name_of
from normbench.datasets.inputs import Moments, input_constants
from normbench.errors import ComponentError, DataMissingError, UndefinedError, UsageError
from normbench.models.make import check
from normbench.place import told
from normbench.plan.code import packages_in
from normbench.protocol.schema import Cell
from normbench.training.augment import check_augment
from normbench.training.curvature import check_curvature
from normbench.training.data import arrays_of, check_batch_size, split_of
from normbench.training.precision import check_settings
from normbench.training.tasks import Checked, Group

#: Axes that decide neither a network's layers nor whether its norm has a meaning there, and one
#: value of each: cells that differ in these alone have one network, which is built once.
_OF_NO_SHAPE: dict[str, Any] = {
    "learning_rate": None,
    "epochs": None,
    "budget_steps": None,
    "budget_samples": None,
    "optimizer": None,
    "clip_norm": None,
    "accumulate": 1,
    "precision": "fp32",
    "norm_precision": "fp32",
    "ema": 0.0,
    "ema_buffers": "averaged",
    "lr_schedule": None,
    "lr_scaling": "none",
    "lr_reference_batch": 1,
    "evaluations_per_epoch": 1,
    "evaluations": None,
    "input_norm": "raw",
    "augment": (),
    "input_units": "unit",
    "train_size": None,
    "split_seed": 0,
    "validation_fraction": 0.5,
    "test_fraction": 0.5,
    "statistics_samples": 1,
    "probes": (),
}


#: Why a network has no meaning, or None where it has; and what people should know of it.
Found = tuple[str | None, tuple[str, ...]]


def check_all(cells: Sequence[Cell]) -> list[Checked]:
    """What is found for each cell, in one thread: with more, small norms wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        known: dict[Any, Found] = {}
        return [checked(cell, known) for cell in cells]
    finally:
        torch.set_num_threads(threads)


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


def checked(cell: Cell, known: dict[Any, Found]) -> Checked:
    """What is found for a cell; nothing is raised for one that does not fit.

    ``known`` keeps what was found for networks before.
    """
    try:
        reason, warnings = _found(cell, known)
        content = _content(cell)
    except DataMissingError as error:
        return Checked("missing", str(error))
    except UsageError as error:
        return Checked("misfit", str(error))
    except ComponentError as error:
        return _failed(cell, str(error))
    except Exception as error:
        packages = packages_in(cell)
        if not packages:
            raise  # a bug of ours
        return _failed(cell, told(error, packages))
    return Checked("sound" if reason is None else "undefined", reason or "", content, warnings)


def _failed(cell: Cell, why: str) -> Checked:
    with contextlib.suppress(Exception):  # it may be the data set that raised
        return Checked("failed", why, _content(cell))
    return Checked("failed", why)


def check_cell(cell: Cell, known: dict[Any, Found] | None = None) -> str | None:
    """None if the cell can be trained, or why its configuration has no meaning.

    Raises :class:`~normbench.errors.DataMissingError` where its data are not on this machine
    and :class:`~normbench.errors.UsageError` where its values do not fit each other.
    """
    return _found(cell, {} if known is None else known)[0]


def _found(cell: Cell, known: dict[Any, Found]) -> Found:
    arrays = arrays_of(cell)
    check_batch_size(cell, len(split_of(cell).train))
    check_curvature(cell, arrays.task)
    check_settings(cell)
    check_augment(cell, arrays.shape)
    _check_tokens(cell, arrays)
    if cell.input_norm == "imagenet":
        nothing = np.zeros(arrays.shape[0])
        input_constants(Moments(nothing, nothing), cell.input_norm)
    network_alone = (cell.model_copy(update=_OF_NO_SHAPE), arrays.shape, arrays.classes)
    if network_alone not in known:
        known[network_alone] = _undefined(*network_alone)
    return known[network_alone]


def _check_tokens(cell: Cell, arrays: Arrays) -> None:
    """Refuse tokens where a model takes none, and axes that would be without effect on them."""
    name = cell.model.name
    takes = MODELS[name].traits & {TOKENS, OWN_NETWORKS} or not MODELS.built_in(name)
    if not arrays.of_tokens:
        return
    if not takes:
        raise UsageError(
            f"the data set {cell.dataset.name} has sequences of tokens, with a label for each; the "
            f"model {name} takes none: use the model transformer"
        )
    for axis, default in (("input_norm", "per-channel"), ("input_units", "unit")):
        received = getattr(cell, axis)
        if received != default:
            raise UsageError(
                f"{axis} = {received!r} has no meaning for tokens, which are no quantities; leave "
                f"{axis} out for the data set {cell.dataset.name}"
            )


def _undefined(cell: Cell, shape: tuple[int, ...], classes: int) -> Found:
    """Why the network of such cells has no meaning for these samples, and what is said of it."""
    try:
        return None, check(cell, shape, classes)
    except UndefinedError as error:
        return str(error), ()
