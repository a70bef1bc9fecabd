"""Norms of all members whose statistics are those of rows: samples, or the channels of a pixel."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

import torch
from torch import Tensor

from normbench.models.packed.block import Block, Operation
from normbench.models.packed.evaluator import Conditions
from normbench.models.packed.graph import Node
from normbench.models.packed.normalize import affine_of


class LayerNorms(Operation):
    """y = γ·(x − μ)/√(σ² + ε) + β over all values of a sample (Ba, Kiros & Hinton 2016).

    Samples are seen as rows: (members, N, values). Where a norm has a scale per channel, each
    position of a sample is a row: layer norm over channels. Where ``in_place`` is set, the input is
    turned into the normalized one.
    """

    #: Whether the mean is taken off.
    centred = True

    def __init__(self, node: Node, block: Block, params: Mapping[str, Any]) -> None:
        self.node, self.block, self.eps = node, block, float(params["eps"])
        self.count = prod(node.before) if node.per_element else node.before[-1]
        rows = block.batch * (prod(node.before) // self.count)
        weight, bias = affine_of(node, block.values)
        row = (block.size, 1, self.count)
        self.weight = None if weight is None else weight.view(row)
        self.bias = None if bias is None else bias.view(row)
        weight, bias = affine_of(node, block.gradients)
        self.weight_gradient = None if weight is None else weight.view(block.size, -1)
        self.bias_gradient = None if bias is None else bias.view(block.size, -1)
        self.y = block.work.take(f"{node.name} output", block.size, rows, self.count)
        self.x = self.rstd = self.y

    def _standardised(
        self, x: Tensor, squares: Tensor | None, *, in_place: bool
    ) -> tuple[Tensor, Tensor]:
        """The normalized rows without scale and shift, and 1/σ (members, N, 1)."""
        if self.centred:
            mean = x.sum(2, keepdim=True).div_(self.count)
            x = x.sub_(mean) if in_place else x - mean
        squared = torch.mul(x, x, out=squares) if squares is not None else x * x
        rstd = squared.sum(2, keepdim=True).div_(self.count).add_(self.eps).rsqrt_()
        return x.mul_(rstd) if in_place or self.centred else x * rstd, rstd

    def _affine(self, x: Tensor, out: Tensor | None) -> Tensor:
        if self.weight is None:
            return x if out is None else out.copy_(x)
        if self.bias is None:
            return torch.mul(x, self.weight, out=out)
        return torch.addcmul(self.bias, x, self.weight, out=out)

    def forward(self, x: Tensor) -> Tensor:
        """Normalize each row."""
        rows = x.view(self.y.shape)
        self.x, self.rstd = self._standardised(rows, self.y, in_place=self.in_place)
        return self._affine(self.x, self.y).view(x.shape)

    def backward(self, gradient: Tensor) -> Tensor:
        """With h = γ·g: ∂x = (h − mean(h) − x̂·mean(h·x̂))/σ, and the parameters' gradients."""
        g = gradient.reshape(self.y.shape)
        mean = self._weighted_mean(g).mul_(self.rstd) if self.centred else None
        product = torch.mul(g, self.x, out=self.y)
        along = self._weighted_mean(product).mul_(self.rstd)
        if self.bias_gradient is not None:
            torch.sum(g, 1, out=self.bias_gradient)
        if self.weight is None or self.weight_gradient is None:
            back = torch.mul(g, self.rstd, out=product)
        else:
            torch.sum(product, 1, out=self.weight_gradient)
            back = torch.mul(g, self.weight, out=product).mul_(self.rstd)
        back.addcmul_(self.x, along)
        return (back if mean is None else back.add_(mean)).view(gradient.shape)

    def _weighted_mean(self, values: Tensor) -> Tensor:
        """−mean(γ·values) over each row, (members, N, 1)."""
        if self.weight is None:
            return values.sum(2, keepdim=True).mul_(-1.0 / self.count)
        return torch.bmm(values, self.weight.transpose(1, 2)).mul_(-1.0 / self.count)

    def evaluate(self, x: Tensor, conditions: Conditions) -> Tensor:
        """The same function as in training."""
        del conditions
        rows = x.reshape(x.shape[0], -1, self.count)
        return self._affine(self._standardised(rows, None, in_place=False)[0], None).view(x.shape)


class RmsNorms(LayerNorms):
    """y = γ·x/√(mean(x²) + ε) over all values of a sample (Zhang & Sennrich 2019)."""

    centred = False
