"""What the operations on a block of members share: sizes, parameters and memory to work in."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from normbench.norms.batch import Mode

#: Mean and variance by the name of a batch norm, each of shape (members, channels).
Statistics = Mapping[str, tuple[Tensor, Tensor]]


#: Products with fewer columns than this, and not a whole number of registers of values, take up to
#: five times as long as with rows and columns exchanged, if their sums are of so many values.
_FEW_COLUMNS, _REGISTER, _LONG_SUM = 32, 8, 64


class Workspace:
    """Tensors to work in, by name; blocks that are computed one after the other share them."""

    def __init__(self, dtype: torch.dtype, device: str | torch.device) -> None:
        self.dtype, self.device = dtype, device
        self._tensors: dict[str, Tensor] = {}

    def take(self, name: str, *shape: int) -> Tensor:
        """A tensor of ``shape``, zero when first taken; a shorter one is the front of a longer."""
        tensor = self._tensors.get(name)
        if tensor is None:
            tensor = torch.zeros(shape, dtype=self.dtype, device=self.device)
            self._tensors[name] = tensor
        return tensor[: shape[0]]

    def clear(self) -> None:
        """Give the memory back."""
        self._tensors.clear()

    @property
    def bytes(self) -> int:
        """The memory held."""
        return sum(t.numel() * t.element_size() for t in self._tensors.values())


@dataclass
class Conditions:
    """Which statistics batch norms use, as in :class:`normbench.norms.batch.BatchNorm`.

    ``running`` are those of mode ``"running"``; in the other modes each ``batch`` consecutive
    samples are normalized by their own. ``moments`` receives what mode ``"collect"`` adds up.
    ``work`` is memory that samples computed earlier have used.
    """

    running: Statistics
    work: Workspace
    mode: Mode = "running"
    batch: int = 0
    moments: dict[str, tuple[Tensor, Tensor]] = field(default_factory=dict)

    def add(self, name: str, members: slice, first: Tensor, second: Tensor) -> None:
        """Add float64 sums over batches of the first and second moments, (members, channels)."""
        for total, more in zip(self.moments[name], (first, second), strict=True):
            total[members] += more


@dataclass
class Block:
    """Members ``start`` to ``start + size`` and their parameters, each of shape (size, …)."""

    start: int
    size: int
    batch: int
    values: Mapping[str, Tensor]
    gradients: Mapping[str, Tensor]
    running: Mapping[str, tuple[Tensor, Tensor]]
    work: Workspace

    @property
    def members(self) -> slice:
        """Its places among all members."""
        return slice(self.start, self.start + self.size)

    def affine(
        self, name: str, values: tuple[int, ...], gradients: tuple[int, ...]
    ) -> tuple[Tensor | None, ...]:
        """A norm's scale and shift, then their gradients, in these shapes; None where it has none.

        Views of one tensor have as many values in any shape.
        """
        of = ((self.values, values), (self.gradients, gradients))
        return tuple(
            tensors[f"{name}.{part}"].view(shape) if f"{name}.{part}" in tensors else None
            for tensors, shape in of
            for part in ("weight", "bias")
        )


class Operation(ABC):
    """A layer of all members of a block, with its derivative written out.

    It is made of a node of the graph, which is its whole configuration, and knows no neighbour.
    Activations have shape (members, N, H, W, C) or (members, N, features). An operation may use up
    the gradient it is given, and its input only where its node says so.
    """

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """The output in training; keeps what :meth:`backward` needs."""

    @abstractmethod
    def backward(self, gradient: Tensor) -> Tensor:
        """From the gradient of the output that of the input; parameters' gradients are written."""

    @abstractmethod
    def evaluate(self, x: Tensor, conditions: Conditions) -> Tensor:
        """The output in evaluation, for any number of samples; keeps and changes nothing.

        Inputs that all members share may come with stride 0.
        """


def put_product(out: Tensor, left: Tensor, right: Tensor) -> None:
    """left·right for each of a batch of matrices, into ``out``."""
    columns = right.shape[2]
    if columns < _FEW_COLUMNS and columns % _REGISTER and right.shape[1] >= _LONG_SUM:
        out.copy_(torch.bmm(right.transpose(1, 2), left.transpose(1, 2)).transpose(1, 2))
    else:
        torch.bmm(left, right, out=out)
