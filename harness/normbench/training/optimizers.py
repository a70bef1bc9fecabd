"""Optimizers of the catalogue, as functions of the gradients.

They call the functions behind ``torch.optim``'s classes, so that the arithmetic is torch's,
and leave out the classes' bookkeeping, which costs as much as a step of a small network.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor
from torch.optim.sgd import sgd as torch_sgd


class Optimizer(Protocol):
    """Changes parameters in place, given their gradients in the same order."""

    def step(self, gradients: Sequence[Tensor]) -> None:
        """Take one step."""
        ...


class Sgd:
    """SGD in torch's convention: v ← momentum·v + g + weight_decay·w; w ← w − learning_rate·v."""

    def __init__(
        self, parameters: Sequence[Tensor], learning_rate: float, momentum: float, decay: float
    ) -> None:
        self.parameters = list(parameters)
        self.learning_rate, self.momentum, self.decay = learning_rate, momentum, decay
        self.velocity: list[Tensor | None] = [None for _ in self.parameters]

    @torch.no_grad()
    def step(self, gradients: Sequence[Tensor]) -> None:
        """Take one step; the first sets the velocity to the gradient."""
        # The fused kernel walks through memory as it lies: a transposed or expanded gradient
        # would be read in the wrong order, or past its end. Contiguous ones are passed as they are.
        whole = [gradient.contiguous() for gradient in gradients]
        torch_sgd(
            self.parameters, whole, self.velocity,
            fused=True, foreach=False, lr=self.learning_rate, momentum=self.momentum,
            weight_decay=self.decay, dampening=0.0, nesterov=False, maximize=False,
        )  # fmt: skip


def sgd(
    parameters: Sequence[Tensor], learning_rate: float, *, momentum: float, weight_decay: float
) -> Optimizer:
    """Stochastic gradient descent; ``learning_rate`` is the one after scaling."""
    return Sgd(parameters, learning_rate, momentum, weight_decay)
