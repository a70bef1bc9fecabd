"""Weight norm (Salimans & Kingma 2016): the weights are normalized, not the activations."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from normbench.norms.reparametrized import Reparametrized, require_weights


class WeightNormed(Reparametrized):
    """A convolution or linear layer with w = g·v/‖v‖ per output channel.

    ``v`` has the shape of the layer's weight and ``g`` one value per output; at the start g = ‖v‖,
    so that the layer computes what the plain one does. Written out by hand, since torch's own
    parametrization has a wrong second derivative on the CPU and no batching rule.
    arXiv:1602.07868.
    """

    def __init__(self, layer: nn.Conv2d | nn.Linear) -> None:
        super().__init__(layer)
        self.g = nn.Parameter(layer.weight.new_empty(layer.weight.shape[0]))
        self.initialised()

    @torch.no_grad()
    def initialised(self) -> None:
        """Set g to ‖v‖, where there are values."""
        if self.v.is_meta:  # torch would import sympy for its length, a third of a second
            return
        self.g.copy_(torch.linalg.vector_norm(self.v.flatten(1), dim=1))

    @property
    def weight(self) -> Tensor:
        """The weight that the layer uses: g·v/‖v‖."""
        return self.v * self.per_output(self.g / torch.linalg.vector_norm(self.v.flatten(1), dim=1))


def build(layer: nn.Module) -> nn.Module:
    """Wrap a convolution or linear layer; anything else raises ``TypeError``."""
    return WeightNormed(require_weights("weight norm", layer))
