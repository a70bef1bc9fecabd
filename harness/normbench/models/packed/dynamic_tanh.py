"""Dynamic tanh of all members."""

from __future__ import annotations

from math import prod

import torch
from torch import Tensor

from normbench.models.packed.block import Block, Conditions, Operation
from normbench.models.packed.forms import Form, NormNode


class DynamicTanhs(Operation):
    """y = γ·tanh(α·x) + β with an α per member, and γ and β per channel (Zhu et al. 2025).

    Values are seen as (members, N·positions, channels). The input is kept, not changed.
    """

    def __init__(self, node: NormNode, block: Block) -> None:
        self.channels = node.before[-1]
        rows = block.batch * (prod(node.before) // self.channels)
        self.alpha = block.values[f"{node.name}.alpha"].view(block.size, 1, 1)
        self.alpha_gradient = block.gradients[f"{node.name}.alpha"]
        self.weight, self.bias, self.weight_gradient, self.bias_gradient = block.affine(
            node.name, (block.size, 1, self.channels), (block.size, self.channels)
        )
        self.y = block.work.take(f"{node.name} output", block.size, rows, self.channels)
        self.t = block.work.take(f"{node.name} tanh", block.size, rows, self.channels)
        self.x = self.y

    def _affine(self, t: Tensor, out: Tensor | None) -> Tensor:
        if self.weight is None or self.bias is None:
            return t if out is None else out.copy_(t)
        return torch.addcmul(self.bias, t, self.weight, out=out)

    def forward(self, x: Tensor) -> Tensor:
        """Squash each value."""
        self.x = x.view(self.y.shape)
        torch.mul(self.x, self.alpha, out=self.t).tanh_()
        return self._affine(self.t, self.y).view(x.shape)

    def backward(self, gradient: Tensor) -> Tensor:
        """With u = γ·g·(1 − tanh²): ∂x = α·u and ∂α = Σ u·x, and the sums for γ and β."""
        g = gradient.reshape(self.y.shape)
        if self.weight_gradient is not None and self.bias_gradient is not None:
            torch.sum(g, 1, out=self.bias_gradient)
            torch.sum(torch.mul(g, self.t, out=self.y), 1, out=self.weight_gradient)
        slope = torch.mul(self.t, self.t, out=self.y).neg_().add_(1)
        u = slope.mul_(g) if self.weight is None else slope.mul_(g).mul_(self.weight)
        self.alpha_gradient.copy_((u * self.x).sum((1, 2)).view(self.alpha_gradient.shape))
        return u.mul_(self.alpha).view(gradient.shape)

    def evaluate(self, x: Tensor, conditions: Conditions) -> Tensor:
        """The same function as in training."""
        del conditions
        rows = x.reshape(x.shape[0], -1, self.channels)
        return self._affine((rows * self.alpha).tanh_(), None).view(x.shape)


DYT = Form(DynamicTanhs, scalars=("alpha",))
