"""Fully connected layers of all members at once."""

from __future__ import annotations

import torch
from torch import Tensor

from normbench.models.packed.block import Block, put_product
from normbench.models.packed.evaluator import Conditions
from normbench.models.packed.graph import Node
from normbench.models.packed.weighted import Weighted

#: The bytes of weights and gradients that the last cache still holds when a weight moves; pieces
#: for a smaller cache save less than their calls cost.
NEAR_BYTES = 1 << 24


class LinearLayers(Weighted):
    """y = x·Wᵀ + b for x of shape (members, N, features), one product of a batch of matrices."""

    def __init__(self, node: Node, block: Block, *, passes_back: bool) -> None:
        super().__init__(node, block)
        self.passes_back = passes_back
        self.x = self.bias
        few = max(1, NEAR_BYTES // (2 * self.stored[0].nbytes))
        #: Members whose weights and gradients together stay in a cache.
        self.few = [slice(i, min(i + few, block.size)) for i in range(0, block.size, few)]

    def forward(self, x: Tensor) -> Tensor:
        """Outputs (members, N, outputs), in memory of their own."""
        self.prepare_weight()
        self.x = x
        if self.bias_cancels:
            return torch.bmm(x, self.weight.transpose(1, 2))
        return torch.baddbmm(self.bias, x, self.weight.transpose(1, 2))

    def backward(self, gradient: Tensor) -> Tensor:
        """The input's gradient, unless nothing before has parameters."""
        self.bias_backward(gradient)
        back = torch.empty_like(self.x) if self.passes_back else gradient
        members = [slice(None)] if self.block.rate is None else self.few
        for some in members:
            given, weight = gradient[some], self.weight[some]
            if self.passes_back:
                torch.bmm(given, weight, out=back[some])
            out = self.weight_gradient[some]
            put_product(out, given.transpose(1, 2), self.x[some], self.carry)
            self.move(some)
        self.finish_weight(moved=True)
        return back

    def evaluate(self, x: Tensor, conditions: Conditions) -> Tensor:
        """As in training, with the bias."""
        weight, bias = self.affine(conditions)
        return torch.baddbmm(bias, x, weight.transpose(1, 2))
