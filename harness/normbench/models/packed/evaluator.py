"""Evaluation of all members on the same samples, forward only."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

import torch
from torch import Tensor

from normbench.models.packed.block import Block, Conditions, Statistics, Workspace
from normbench.norms.batch import Mode


class Evaluated(Protocol):
    """What can be computed in evaluation."""

    def evaluate(self, x: Tensor, conditions: Conditions) -> Tensor:
        """The output; see :meth:`normbench.models.packed.block.Operation.evaluate`."""
        ...


class PackedEvaluator:
    """Logits of all members for samples that they share; nothing of the training is changed.

    It reads the parameters and running statistics of the net that made it, as they are at each
    call. Samples are computed in pieces of at most ``limit`` that fit into a cache; pieces hold
    whole batches where batch norm takes statistics from them.
    """

    def __init__(
        self,
        blocks: Sequence[tuple[Block, Sequence[Evaluated]]],
        running: Statistics,
        limit: int,
        image_input: bool,
    ) -> None:
        self.blocks, self.limit, self.image_input = blocks, limit, image_input
        self._running = running
        work = blocks[0][0].work
        self._work = Workspace(work.dtype, work.device)
        self._batches = 0
        self._moments: dict[str, tuple[Tensor, Tensor]] = {}

    @property
    def batch_statistics(self) -> bool:
        """Whether results depend on which statistics are used: there are batch norms."""
        return bool(self._running)

    @torch.no_grad()
    def logits(self, x: Tensor, mode: Mode = "running", batch: int = 0) -> Tensor:
        """Logits (members, n, classes) of samples (n, C, H, W) in evaluation mode.

        ``mode`` and ``batch`` say which statistics batch norms use: see :class:`Conditions`.
        """
        whole = batch if mode != "running" and self.batch_statistics else 1
        if whole < 1 or len(x) % whole:
            raise ValueError(
                f"batch statistics need whole batches of {whole} samples; received {len(x)}"
            )
        size = max(1, self.limit // whole) * whole
        conditions = Conditions(self._running, self._work, mode, batch, self._moments)
        arranged = x.movedim(1, -1).contiguous() if self.image_input else x.flatten(1)
        found = [
            torch.cat(
                [self._piece(part, block, conditions) for part in torch.split(arranged, size)], 1
            )
            for block in self.blocks
        ]
        if mode == "collect" and self.batch_statistics:
            self._batches += len(x) // whole
        return found[0] if len(found) == 1 else torch.cat(found)

    def _piece(
        self,
        x: Tensor,
        block: tuple[Block, Sequence[Evaluated]],
        conditions: Conditions,
    ) -> Tensor:
        members, operations = block
        x = x.unsqueeze(0).expand(members.size, *x.shape)
        for operation in operations:
            x = operation.evaluate(x, conditions)
        return x

    def release(self) -> None:
        """Give back the memory that samples were computed in."""
        self._work.clear()

    def start_collecting(self) -> None:
        """Forget collected moments; calls in mode ``"collect"`` gather new ones."""
        self._batches = 0
        self._moments = {
            name: (mean.new_zeros(mean.shape).double(), mean.new_zeros(mean.shape).double())
            for name, (mean, _) in self._running.items()
        }

    def collected(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Population mean and (biased) variance of each layer since collecting began.

        See :meth:`normbench.norms.batch.BatchNorm.collected`; shapes are (members, channels).
        """
        found = {}
        for name, (first, second) in self._moments.items():
            mean = first / self._batches
            variance = (second / self._batches - mean.square()).clamp_min(0)
            dtype = self._running[name][0].dtype
            found[name] = mean.to(dtype), variance.to(dtype)
        return found

    @contextmanager
    def recomputed(self, batches: Iterable[Tensor], batch: int) -> Iterator[None]:
        """Within this context, running statistics are replaced by recomputed ones.

        They are the population statistics over ``batches``, tensors (n, C, H, W) of whole batches
        of ``batch`` samples (Wu & Johnson 2021, arXiv:2105.07576); see
        :func:`normbench.training.evaluate.recomputed_statistics`.
        """
        self.start_collecting()
        for x in batches:
            self.logits(x, "collect", batch)
        kept, self._running = self._running, self.collected()
        try:
            yield
        finally:
            self._running = kept
