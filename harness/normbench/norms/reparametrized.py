"""Layers whose weight is a function of a learned one."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional


class Reparametrized(nn.Module, ABC):
    """A convolution or linear layer that computes its weight from ``v`` in every pass.

    ``v`` has the shape of the layer's weight and is what is initialised and decayed; the bias is
    the layer's own.
    """

    def __init__(self, layer: nn.Conv2d | nn.Linear) -> None:
        super().__init__()
        self.v = nn.Parameter(layer.weight.detach().clone())
        self.bias = layer.bias
        self.convolution = isinstance(layer, nn.Conv2d)
        self.stride = layer.stride if isinstance(layer, nn.Conv2d) else (1, 1)
        self.padding = layer.padding if isinstance(layer, nn.Conv2d) else (0, 0)

    @property
    @abstractmethod
    def weight(self) -> Tensor:
        """The weight that the layer uses, in the shape of ``v``."""

    @torch.no_grad()
    def initialised(self) -> None:
        """What is to be done once ``v`` has its initial values."""
        return

    def per_output(self, values: Tensor) -> Tensor:
        """A value per output (outputs,) in a shape that multiplies ``v``."""
        return values.reshape(-1, *([1] * (self.v.dim() - 1)))

    def forward(self, x: Tensor) -> Tensor:
        """The convolution or linear map with the computed weight."""
        if self.convolution:
            return functional.conv2d(x, self.weight, self.bias, self.stride, self.padding)
        return functional.linear(x, self.weight, self.bias)


def require_weights(what: str, layer: object) -> nn.Conv2d | nn.Linear:
    """The layer, if it is a convolution or linear layer; raises ``TypeError`` for others."""
    if not isinstance(layer, nn.Conv2d | nn.Linear):
        raise TypeError(f"{what} wraps convolutions and linear layers, not {layer}")
    return layer
