"""Weight norm (Salimans & Kingma 2016): the weights are normalized, not the activations."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class WeightNormed(nn.Module):
    """A convolution or linear layer with w = g·v/‖v‖ per output channel.

    ``v`` has the shape of the layer's weight and ``g`` one value per output; at the start g = ‖v‖,
    so that the layer computes what the plain one does. Written out by hand, since torch's own
    parametrization has a wrong second derivative on the CPU and no batching rule.
    arXiv:1602.07868.
    """

    def __init__(self, layer: nn.Conv2d | nn.Linear) -> None:
        super().__init__()
        self.v = nn.Parameter(layer.weight.detach().clone())
        self.g = nn.Parameter(layer.weight.new_empty(layer.weight.shape[0]))
        self.bias = layer.bias
        self.convolution = isinstance(layer, nn.Conv2d)
        self.stride = layer.stride if isinstance(layer, nn.Conv2d) else (1, 1)
        self.padding = layer.padding if isinstance(layer, nn.Conv2d) else (0, 0)
        self.reset_scale()

    @torch.no_grad()
    def reset_scale(self) -> None:
        """Set g to ‖v‖."""
        self.g.copy_(torch.linalg.vector_norm(self.v.flatten(1), dim=1))

    @property
    def weight(self) -> Tensor:
        """The weight that the layer uses: g·v/‖v‖."""
        scale: Tensor = self.g / torch.linalg.vector_norm(self.v.flatten(1), dim=1)
        return self.v * scale.reshape(-1, *([1] * (self.v.dim() - 1)))

    def forward(self, x: Tensor) -> Tensor:
        """The convolution or linear map with the normalized weight."""
        if self.convolution:
            return functional.conv2d(x, self.weight, self.bias, self.stride, self.padding)
        return functional.linear(x, self.weight, self.bias)


def build(layer: nn.Module) -> nn.Module:
    """Wrap a convolution or linear layer; anything else raises ``TypeError``."""
    if not isinstance(layer, nn.Conv2d | nn.Linear):
        raise TypeError(f"weight norm wraps convolutions and linear layers, not {layer}")
    return WeightNormed(layer)
