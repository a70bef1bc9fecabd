"""What the operations on a block of members share: sizes, parameters and memory to work in."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from normbench.models.packed.evaluator import Conditions


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

    def another(self) -> Workspace:
        """An empty one for tensors of the same kind."""
        return Workspace(self.dtype, self.device)

    @property
    def bytes(self) -> int:
        """The memory held."""
        return sum(t.numel() * t.element_size() for t in self._tensors.values())


@dataclass
class Block:
    """Members ``start`` to ``start + size`` and their parameters, each of shape (size, …).

    ``carry`` is what is kept of a weight's former gradient, and ``rate`` the learning rate of
    weights that move as soon as they may: see :meth:`PackedNet.set_carry`.
    """

    start: int
    size: int
    batch: int
    values: Mapping[str, Tensor]
    gradients: Mapping[str, Tensor]
    running: Mapping[str, tuple[Tensor, Tensor]]
    work: Workspace
    carry: float = 0.0
    rate: float | None = None

    @property
    def members(self) -> slice:
        """Its places among all members."""
        return slice(self.start, self.start + self.size)


class Operation(ABC):
    """A layer of all members of a block, with its derivative written out.

    Activations have shape (members, N, H, W, C) or (members, N, features). An operation may
    change its input in place where ``in_place`` is set, and may always use up the gradient it is
    given.
    """

    in_place = False

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


def put(out: Tensor, value: Tensor, carry: float) -> None:
    """``carry``·out + value, in place."""
    if carry:
        torch.add(value, out, alpha=carry, out=out)
    else:
        out.copy_(value)


def put_product(out: Tensor, left: Tensor, right: Tensor, carry: float) -> None:
    """``carry``·out + left·right for each of a batch of matrices, in place."""
    columns = right.shape[2]
    if columns < _FEW_COLUMNS and columns % _REGISTER and right.shape[1] >= _LONG_SUM:
        put(out, torch.bmm(right.transpose(1, 2), left.transpose(1, 2)).transpose(1, 2), carry)
    elif carry:
        out.baddbmm_(left, right, beta=carry)
    else:
        torch.bmm(left, right, out=out)


def stacked(found: list[Tensor], out: Tensor | None) -> Tensor:
    """One member's result as it is, several copied into one tensor."""
    if len(found) == 1:
        return found[0].unsqueeze(0)
    return torch.stack(found) if out is None else torch.stack(found, out=out)
