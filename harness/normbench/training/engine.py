"""What an engine is: a way to compute the training of some runs of one cell.

The loop (:mod:`normbench.training.loop`) and what measures engines know this contract alone. The
plain engine trains one run by ordinary torch code, the others several as one computation, along a
leading axis of members: every number that a run gives is that of the plain engine, up to rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from normbench.plan.spec import RunSpec
from normbench.protocol.schema import Cell
from normbench.training.budget import LearningRates, Schedule
from normbench.training.data import Prepared
from normbench.training.evaluate import Evaluation


class Engine(Protocol):
    """Runs of one cell that are trained as one computation; they differ in seed and rate.

    ``rates`` has an entry for each of ``runs``. ``parameters`` and ``buffers`` count the numbers
    that each run trains, and those that it keeps besides. ``batch_statistics`` says whether an
    evaluation depends on which statistics are used: there are batch norms. ``skipped`` counts the
    updates that each left out because float16 gradients were too large; None in other precisions.
    """

    runs: Sequence[RunSpec]
    data: Prepared
    device: str
    schedule: Schedule
    rates: Sequence[LearningRates]
    parameters: int
    buffers: int
    batch_statistics: bool

    @property
    def skipped(self) -> Sequence[int] | None:
        """See above."""

    def session(self) -> AbstractContextManager[None]:
        """What computing happens within: the process's settings that this engine's numbers need."""

    def begin(self, step: int) -> None:
        """Tell norms that change in the course of a run that ``step`` steps have been taken."""

    def gradients(self, index: Tensor, *, alone: bool = True) -> tuple[Tensor, Tensor, Tensor]:
        """Losses (members,), outputs (members, items, outputs) and labels (members, items).

        ``index`` (members, items) holds the places of a step's items: one batch, or several whose
        gradients are averaged (:func:`in_batches`). The engine keeps the gradients, and
        :meth:`update` is to follow. Without ``alone`` nobody will look at them before that, and
        some of the update may be done right away.
        """

    def update(self, step: int) -> None:
        """Change the parameters by the gradients, as the step after ``step`` steps does."""

    def step(self, index: Tensor, step: int) -> None:
        """A whole training step."""

    def weight_norms(self) -> list[float]:
        """The Euclidean norm of each member's parameters."""

    def gradient_norms(self) -> list[float]:
        """That of each member's gradients, before they are clipped; between the two calls."""

    def snapshot(self) -> Any:
        """The parameters as they are now, for the two methods below."""

    def change_norms(self, before: Any) -> list[float]:
        """The Euclidean norm of how far each member's parameters are from a snapshot."""

    def values(self, member: int, before: Any) -> dict[str, Tensor]:
        """A member's parameters in a snapshot, by their names in :meth:`export`'s module."""

    def evaluate(self) -> list[Evaluation]:
        """Each member's evaluation; nothing that training uses is changed.

        Where the cell averages weights, it is that of the averages.
        """

    def export(self, member: int) -> nn.Module:
        """A member as a plain module that shares no memory with the engine.

        The next call may put another member into the same module.
        """


Step = tuple[Tensor, Tensor, Tensor]


def in_batches(cell: Cell, index: Tensor, batch: Callable[[Tensor, int], Step]) -> Step:
    """The losses, outputs and labels of a step by those of its batches, in their order.

    ``batch`` is given the places (members, batch) of one batch's items and its number, from 0, and
    adds up gradients. A step's loss is the mean of its batches'.
    """
    if index.shape[1] == cell.batch_size:
        return batch(index, 0)
    parts = torch.split(index, cell.batch_size, dim=1)
    found = [batch(part, number) for number, part in enumerate(parts)]
    losses, outputs, labels = zip(*found, strict=True)
    return torch.stack(losses).mean(0), torch.cat(outputs, 1), torch.cat(labels, 1)


@contextmanager
def onednn(wanted: bool) -> Iterator[None]:
    """Within this context torch's convolutions on the CPU may use oneDNN, or may not."""
    kept = torch.backends.mkldnn.enabled
    torch.backends.mkldnn.enabled = wanted  # type: ignore[assignment]
    try:
        yield
    finally:
        torch.backends.mkldnn.enabled = kept


def global_norm(tensors: list[Tensor]) -> float:
    """The Euclidean norm of all values together."""
    if not tensors:
        return 0.0
    return float(torch.linalg.vector_norm(torch.stack(torch._foreach_norm(tensors))))


def clip_factor(norms: Tensor, most: float) -> Tensor:
    """What gradients of these norms are multiplied by so that none is longer than ``most``.

    As in ``torch.nn.utils.clip_grad_norm_`` (Pascanu et al. 2013, arXiv:1211.5063).
    """
    return (most / (norms + 1e-6)).clamp(max=1.0)
