"""Random changes of the pictures of training batches, from the run's own streams.

What happens to a picture follows from (seed, augmentation, epoch, item) alone: all norms, batch
sizes, engines and workers see the same pictures. Evaluations and probes see the items as they are.
What a picture leaves free is zero as the model takes it: the mean of a channel where inputs are
centred, black where they are raw.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from normbench.catalog import AUGMENTATIONS
from normbench.catalog.guard import guarded
from normbench.errors import UsageError
from normbench.plan.seeds import stream_key
from normbench.plan.spec import RunSpec
from normbench.protocol.schema import Cell
from normbench.training.budget import Schedule
from normbench.training.data import Prepared


class Augmentation(Protocol):
    """A random change of pictures; it draws nothing itself.

    ``draws`` is how many numbers decide what happens to a picture.
    """

    draws: int

    def fits(self, height: int, width: int) -> str:
        """Why it has no meaning for pictures of this size; empty where it has."""

    def __call__(self, x: Tensor, u: Tensor) -> Tensor:
        """Pictures (n, C, H, W), changed by uniform numbers (n, draws) of float64 in [0, 1)."""


class Flip:
    """Left and right exchanged in a share ``p`` of the pictures."""

    draws = 1

    def __init__(self, *, p: float) -> None:
        self.p = p

    def fits(self, height: int, width: int) -> str:
        """Any size."""
        del height, width
        return ""

    def __call__(self, x: Tensor, u: Tensor) -> Tensor:
        """See :class:`Augmentation`."""
        return torch.where((u[:, 0] < self.p).view(-1, 1, 1, 1), x.flip(-1), x)


class Crop:
    """Moved by up to ``padding`` pixels in both directions, each distance as likely."""

    draws = 2

    def __init__(self, *, padding: int) -> None:
        self.padding = padding

    def fits(self, height: int, width: int) -> str:
        """Some of the picture must stay in sight."""
        if self.padding < min(height, width):
            return ""
        return f"a padding of {self.padding} moves all of a picture out of sight"

    def __call__(self, x: Tensor, u: Tensor) -> Tensor:
        """See :class:`Augmentation`."""
        moves = (u * (2 * self.padding + 1)).floor().long() - self.padding
        rows, seen_rows = self._places(moves[:, 0], x.shape[2])
        columns, seen_columns = self._places(moves[:, 1], x.shape[3])
        x = x.gather(2, rows.view(len(x), 1, -1, 1).expand_as(x))
        x = x.gather(3, columns.view(len(x), 1, 1, -1).expand_as(x))
        seen = seen_rows[:, None, :, None] & seen_columns[:, None, None, :]
        return torch.where(seen, x, torch.zeros((), dtype=x.dtype, device=x.device))

    @staticmethod
    def _places(moves: Tensor, size: int) -> tuple[Tensor, Tensor]:
        """Where each line (n, size) comes from, and whether that is within the picture."""
        places = torch.arange(size, device=moves.device) + moves[:, None]
        return places.clamp(0, size - 1), (places >= 0) & (places < size)


class Cutout:
    """A square of ``size`` pixels put to zero; its middle is anywhere, so that it may stick out."""

    draws = 2

    def __init__(self, *, size: int) -> None:
        self.size = size

    def fits(self, height: int, width: int) -> str:
        """Some of the picture must stay in sight."""
        if self.size < max(height, width):
            return ""
        return f"a square of {self.size} pixels may cover all of a picture"

    def __call__(self, x: Tensor, u: Tensor) -> Tensor:
        """See :class:`Augmentation`."""
        hidden = [self._hidden(u[:, i], size) for i, size in enumerate((x.shape[2], x.shape[3]))]
        return x.masked_fill(hidden[0][:, None, :, None] & hidden[1][:, None, None, :], 0.0)

    def _hidden(self, u: Tensor, size: int) -> Tensor:
        start = (u * size).floor().long()[:, None] - self.size // 2
        places = torch.arange(size, device=u.device)
        return (places >= start) & (places < start + self.size)


def augmentations(cell: Cell) -> list[tuple[str, Augmentation]]:
    """The augmentations of a cell by name, in their order."""
    found = []
    for choice in cell.augment:
        with guarded(AUGMENTATIONS, choice.name):
            found.append((choice.name, AUGMENTATIONS[choice.name].load()(**choice.params)))
    return found


def check_augment(cell: Cell, shape: tuple[int, ...]) -> None:
    """Raise :class:`UsageError` where inputs of this shape cannot be augmented as a cell asks."""
    if not cell.augment:
        return
    if len(shape) != 3 or shape[1] < 2 or shape[2] < 2:
        raise UsageError(
            f"augment changes pictures (channels, height, width); {cell.dataset.label} has inputs "
            f"of shape {shape}; likely fix: leave augment out, or augment = [] for this data set"
        )
    for name, one in augmentations(cell):
        why = one.fits(*shape[1:])
        if why:
            raise UsageError(
                f"augment {name} does not fit the pictures of {cell.dataset.label}, which have "
                f"{shape[1]}×{shape[2]} pixels: {why}; likely fix: a smaller number"
            )


class Batches:
    """The inputs of training batches of an engine's runs, augmented where their cell says so.

    ``plain`` says that they are the items as they are.
    """

    def __init__(self, runs: Sequence[RunSpec], data: Prepared, schedule: Schedule) -> None:
        self.data, self.schedule = data, schedule
        self.seeds = [run.seed for run in runs]
        self.augmentations = augmentations(runs[0].cell)
        self.plain = not self.augmentations
        self._epoch, self._draws = -1, list[Tensor]()

    def begin(self, step: int) -> None:
        """The next batches are of the step after ``step`` steps."""
        epoch = step // self.schedule.steps_per_epoch
        if self.plain or epoch == self._epoch:
            return
        self._epoch = epoch
        self._draws = [
            torch.stack([self._drawn(seed, name, one.draws) for seed in self.seeds])
            for name, one in self.augmentations
        ]

    def _drawn(self, seed: int, name: str, draws: int) -> Tensor:
        """What decides about each item of the training split in this epoch: (items, draws)."""
        key = stream_key(seed, "augment", f"{name} epoch {self._epoch}")
        generator = torch.Generator().manual_seed(key)
        shape = len(self.data.train), draws
        drawn = torch.rand(shape, generator=generator, dtype=torch.float64)
        return drawn.to(self.data.train.y.device)

    def inputs(self, index: Tensor) -> Tensor:
        """The items at places (members, batch) of the training split: (members · batch, …)."""
        x = self.data.train.inputs(index.reshape(-1))
        if self.plain:
            return x
        member = torch.arange(len(index), device=index.device)[:, None]
        for (_, change), drawn in zip(self.augmentations, self._draws, strict=True):
            x = change(x, drawn[member, index].flatten(0, 1))
        return x
