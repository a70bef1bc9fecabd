"""The exponential moving average of weights: what a run with ``ema`` is evaluated by."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from normbench.protocol.schema import Cell


class Average:
    """The average of tensors that change in place, for one member or for several that are stacked.

    After each training step average ← ema·average + (1 − ema)·weights, and after the first one the
    weights themselves, as in ``torch.optim.swa_utils.AveragedModel`` with
    ``get_ema_multi_avg_fn(ema)``: random initial weights have no part in it. ``buffers`` are the
    running statistics: with ``ema_buffers`` ``averaged`` they are averaged as the weights are, with
    ``copied`` they are the training's own, and with ``recomputed`` an evaluation recomputes them
    (:func:`normbench.training.evaluate.evaluate`). Whole numbers are never averaged.
    """

    def __init__(self, cell: Cell, weights: Sequence[Tensor], buffers: Sequence[Tensor]) -> None:
        kept = [b for b in buffers if b.is_floating_point()]
        averaged = kept if cell.ema_buffers == "averaged" else []
        self.decay, self.recomputed = cell.ema, cell.ema > 0 and cell.ema_buffers == "recomputed"
        self.tensors = [t.detach() for t in (*weights, *averaged)] if cell.ema else []
        self.values: list[Tensor] = []

    @torch.no_grad()
    def update(self) -> None:
        """Take in the tensors as they are now."""
        if not self.values:
            self.values = [t.clone() for t in self.tensors]
        else:
            for value, tensor in zip(self.values, self.tensors, strict=True):
                value.lerp_(tensor, 1.0 - self.decay)

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Within this context the averages stand in the tensors' places, once there are any."""
        kept = [t.clone() for t in self.tensors[: len(self.values)]]
        try:
            self._set(self.values)
            yield
        finally:
            self._set(kept)

    @torch.no_grad()
    def _set(self, values: Sequence[Tensor]) -> None:
        for tensor, value in zip(self.tensors, values, strict=False):
            tensor.copy_(value)
