"""Fully connected layers of all members at once."""

from __future__ import annotations

import torch
from torch import Tensor

from normbench.models.packed.block import Block, put_product
from normbench.models.packed.evaluator import Conditions
from normbench.models.packed.graph import LinearNode
from normbench.models.packed.weights import Weighted, product


class LinearLayers(Weighted):
    """y = x·Wᵀ + b for x of shape (members, N, features), one product of a batch of matrices."""

    def __init__(self, node: LinearNode, block: Block) -> None:
        super().__init__(node, block)
        self.x = self.weight

    def forward(self, x: Tensor) -> Tensor:
        """Outputs (members, N, outputs), in memory of their own."""
        self.prepare_weight()
        self.x = x
        return product(x, self.weight, self.bias, None)

    def backward(self, gradient: Tensor) -> Tensor:
        """The input's gradient, unless nothing before has parameters."""
        self.bias_backward(gradient)
        back = torch.bmm(gradient, self.weight) if self.passes_back else gradient
        put_product(self.weight_gradient, gradient.transpose(1, 2), self.x)
        self.finish_weight()
        return back

    def computed(
        self, x: Tensor, weight: Tensor, bias: Tensor | None, conditions: Conditions
    ) -> Tensor:
        """See :class:`Weighted`."""
        del conditions
        return product(x, weight, bias, None)
