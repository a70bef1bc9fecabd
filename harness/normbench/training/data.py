"""A cell's data on its device: split, scaled by the training split, and kept between runs."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from normbench.catalog import DATASETS
from normbench.catalog.guard import guarded
from normbench.catalog.target import root
from normbench.datasets.base import Arrays, Task
from normbench.datasets.inputs import channel_moments, input_constants, unit_factors
from normbench.datasets.sound import check_arrays
from normbench.datasets.split import Split
from normbench.datasets.split import split_of as divided
from normbench.datasets.training_split import label_constants
from normbench.errors import DataMissingError, UsageError
from normbench.plan.seeds import stream_key
from normbench.protocol.schema import Cell
from normbench.training.objective import Objective

#: Items of the training split on which ``train_eval_*`` is measured.
TRAIN_EVAL_ITEMS = 1024
#: Data sets of more bytes as float32 stay as they are stored, shared by all workers, and are
#: scaled batch by batch.
SCALED_BYTES = 1 << 28
#: Items that go through the model at once in evaluation.
EVALUATION_CHUNK = 256


@dataclass(frozen=True)
class Scaling:
    """How stored inputs become the model's: ((x / 255 if uint8) · factor − shift) / scale.

    Each constant has one value per channel. The same operations in the same order whether all
    items are scaled at once or a batch at a time, so that both give the same bits.
    """

    factor: Tensor
    shift: Tensor
    scale: Tensor

    def __call__(self, stored: Tensor) -> Tensor:
        """Scale inputs of shape (items, C, …)."""
        x = stored.float()
        if stored.dtype == torch.uint8:
            x = x.div_(255.0)
        elif x is stored:
            x = x.clone()
        shape = (1, -1, *([1] * (x.dim() - 2)))
        x.mul_(self.factor.reshape(shape)).sub_(self.shift.reshape(shape))
        return x.div_(self.scale.reshape(shape))


@dataclass(frozen=True)
class Part:
    """Inputs of items (each of shape (C, H, W)) and labels of shape (items,), on one device.

    Tokens are (items, tokens) as real numbers, and so may be their labels, as whole ones.

    Either ``x`` holds the items as the model takes them, or ``scaling`` and ``rows`` are set: then
    ``x`` is the whole data set as it is stored, ``rows`` the places of this part's items in it,
    and each batch is scaled when it is asked for.
    """

    x: Tensor
    y: Tensor
    rows: Tensor | None = None
    scaling: Scaling | None = None

    def __len__(self) -> int:
        return len(self.y)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one input: (C, H, W)."""
        return tuple(self.x.shape[1:])

    @property
    def dtype(self) -> torch.dtype:
        """The type of the numbers that the model takes."""
        return self.x.dtype if self.scaling is None else torch.float32

    def inputs(self, index: Tensor | slice) -> Tensor:
        """The inputs at these places of the part, as the model takes them."""
        if self.rows is None or self.scaling is None:
            return self.x[index]
        return self.scaling(self.x[self.rows[index]])

    def chunks(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """The items in order, ``size`` at a time; the last chunk may be short."""
        for start in range(0, len(self), size):
            chunk = slice(start, start + size)
            yield self.inputs(chunk), self.y[chunk]

    def first(self, count: int) -> Part:
        """The first ``count`` items, or all if there are fewer."""
        return self.at(slice(0, count))

    def whole_batches(self, batch_size: int) -> Part:
        """The items, filled up from the start to a whole number of batches."""
        short = -len(self) % batch_size
        if not short:
            return self
        return self.at(torch.arange(len(self) + short, device=self.y.device) % len(self))

    def at(self, index: Tensor | slice) -> Part:
        """The items at these places, in this order."""
        if self.rows is None:
            return Part(self.x[index], self.y[index])
        return Part(self.x, self.y[index], self.rows[index], self.scaling)


@dataclass(frozen=True)
class Prepared:
    """The three parts of a data set, scaled, the number of classes, and what is learned.

    ``classes`` is the number of the network's outputs, which is 1 in a regression.
    """

    train: Part
    validation: Part
    test: Part
    classes: int
    task: Task = "classification"
    tolerance: float = 0.0

    @property
    def objective(self) -> Objective:
        """The loss that is minimized, and which items count as right."""
        return Objective(self.task, self.tolerance)

    @property
    def label_variance(self) -> float | None:
        """In a regression the variance of the training labels: the error without any inputs."""
        if self.task == "classification":
            return None
        return float(self.train.y.double().var(correction=0))

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one input: (C, H, W)."""
        return self.train.shape


@lru_cache(maxsize=4)
def _arrays(name: str, params: tuple[tuple[str, object], ...], root: str) -> Arrays:
    del root  # where files of the user's own are: another protocol's are others
    with guarded(DATASETS, name, UsageError):
        dataset = DATASETS[name].load()
        missing = dataset.missing(dict(params))
        if missing:
            raise DataMissingError(f"the data set {name} is not on this machine: {missing}")
        arrays: Arrays = dataset.load(dict(params))
        if not DATASETS.built_in(name):
            check_arrays(arrays)
        return arrays


def arrays_of(cell: Cell) -> Arrays:
    """The data set of a cell, read once a process."""
    return _arrays(cell.dataset.name, tuple(sorted(cell.dataset.params.items())), root())


def split_of(cell: Cell) -> Split:
    """The split of a cell's data set: the same for all its seeds, norms and batch sizes."""
    return divided(
        arrays_of(cell),
        cell.split_seed,
        cell.validation_fraction,
        cell.test_fraction,
        cell.train_size,
    )


def _prepare(cell: Cell, device: str) -> Prepared:
    arrays, split = arrays_of(cell), split_of(cell)
    if arrays.of_tokens:
        return _of_tokens(arrays, split, device)
    factors = unit_factors(cell.input_units, arrays.shape[0])
    moments = channel_moments(arrays.inputs, split.train)
    shift, scale = input_constants(moments, cell.input_norm, factors)
    scaling = Scaling(*(torch.from_numpy(c).to(device) for c in (factors, shift, scale)))
    stored = _shared(arrays.inputs).to(device)
    of_test = stored
    if arrays.test_inputs is not None:
        of_test = _shared(arrays.test_inputs).to(device)
    keep = arrays.inputs.size * 4 > SCALED_BYTES

    middle, spread = label_constants(arrays, split.train)

    def part(index: NDArray[np.int64], stored: Tensor = stored) -> Part:
        chosen = arrays.labels[index]
        if arrays.standardized:
            chosen = ((chosen - middle) / spread).astype(np.float32)
        labels = torch.from_numpy(chosen).to(device)
        rows = torch.from_numpy(index).to(device)
        if keep:
            return Part(stored, labels, rows, scaling)
        return Part(scaling(stored[rows]), labels)

    parts = (part(split.train), part(split.validation), part(split.test, of_test))
    return Prepared(*parts, arrays.classes, arrays.task, arrays.tolerance)


def _of_tokens(arrays: Arrays, split: Split, device: str) -> Prepared:
    """Tokens as numbers of the model's type, which holds them exactly: nothing is scaled."""

    def part(index: NDArray[np.int64]) -> Part:
        x, y = (
            torch.from_numpy(values[index]).to(device) for values in (arrays.inputs, arrays.labels)
        )
        return Part(x.float(), y)

    return Prepared(part(split.train), part(split.validation), part(split.test), arrays.classes)


def _shared(inputs: NDArray[Any]) -> Tensor:
    """Inputs as a tensor that shares their memory, which may be a read-only file's."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        return torch.from_numpy(inputs)


_CACHE_SIZE = 4
_cache: dict[tuple[str, ...], Prepared] = {}


def prepare(cell: Cell, device: str = "cpu") -> Prepared:
    """The data of a cell on ``device``; cells that differ in other axes share them."""
    axes = {
        "dataset", "split_seed", "validation_fraction", "test_fraction", "train_size", "input_norm",
        "input_units",
    }  # fmt: skip
    data_only = cell.model_dump_json(include=axes)
    key = (data_only, device, root())
    found = _cache.get(key)
    if found is None:
        found = _prepare(cell, device)
        while len(_cache) >= _CACHE_SIZE:
            _cache.pop(next(iter(_cache)))
        _cache[key] = found
    return found


def forget_data() -> None:
    """Load all data anew when they are asked for again: they may have changed since."""
    _arrays.cache_clear()
    _cache.clear()


def check_batch_size(cell: Cell, n_train: int) -> None:
    """Raise :class:`UsageError` where a step takes more than the training split."""
    if cell.accumulate > 1 and cell.samples_per_step > n_train:
        raise UsageError(
            "batch_size × accumulate must not exceed the training split "
            f"({n_train} items of {cell.dataset.name}); received {cell.batch_size} × "
            f"{cell.accumulate} = {cell.samples_per_step}; use fewer, or more items"
        )
    if cell.batch_size > n_train:
        raise UsageError(
            f"batch_size must not exceed the training split ({n_train} items of "
            f"{cell.dataset.name}); received {cell.batch_size}; use a smaller batch, or more items"
        )


def epoch_order(seed: int, epoch: int, n_train: int) -> Tensor:
    """The order of the training items in an epoch: (seed, ``order``, epoch) decides it alone.

    Shape (n_train,). Batches are cut from it in sequence and a last short batch is left out,
    so that every batch size sees the items in the same order.
    """
    generator = torch.Generator().manual_seed(stream_key(seed, "order", f"epoch {epoch}"))
    return torch.randperm(n_train, generator=generator)
