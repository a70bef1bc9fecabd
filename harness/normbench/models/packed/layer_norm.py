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
from normbench.models.packed.normalize import add_per_channel, affine_of
from normbench.models.packed.weighted import Weighted

#: Rows of at most so many values are normalized by torch's own kernels in training. There a call
#: costs as much as its values, and one kernel takes the place of seven; on longer rows the
#: operations one by one are as fast, since they work in place.
FUSED_VALUES = 512


class LayerNorms(Operation):
    """y = γ·(x − μ)/√(σ² + ε) + β over all values of a sample (Ba, Kiros & Hinton 2016).

    Samples are seen as rows: (members, N, 1, values). Where a norm has a scale per channel, each
    position of a sample is a row: layer norm over channels. A vector under group norm (Wu & He
    2018) is as many rows as it has groups, each with a scale of its own: (members, N, groups,
    values). Where ``in_place`` is set, the input may be turned into the normalized one.
    """

    #: Whether the mean is taken off, and with it a bias that the layer before has left.
    centred = takes_bias = True

    def __init__(self, node: Node, block: Block, params: Mapping[str, Any]) -> None:
        self.node, self.block, self.eps = node, block, float(params["eps"])
        groups = int(params.get("groups", 1))
        whole = prod(node.before) if node.per_element else node.before[-1]
        self.count = whole // groups
        self.fused = self.centred and (self.count <= FUSED_VALUES or groups > 1)
        rows = block.batch * (prod(node.before) // whole)
        weight, bias = affine_of(node, block.values)
        row = (block.size, 1, groups, self.count)
        self.weight = None if weight is None else weight.view(row)
        self.bias = None if bias is None else bias.view(row)
        weight, bias = affine_of(node, block.gradients)
        gradient = (block.size, groups, self.count)
        self.weight_gradient = None if weight is None else weight.view(gradient)
        self.bias_gradient = None if bias is None else bias.view(gradient)
        self.y = block.work.take(f"{node.name} output", block.size, rows, groups, self.count)
        self.x = self.rstd = self.y
        #: The layer with weights right before, if it may leave its bias to the norm.
        self.behind: Weighted | None = None

    def _fused(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The normalized rows without scale and shift, and 1/σ, by torch's kernel."""
        y, _, rstd = torch.native_layer_norm(x, [self.count], None, None, self.eps)
        return y, rstd

    def _standardised(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The same operation by operation; changes the input where ``in_place`` is set."""
        if self.centred:
            mean = x.sum(-1, keepdim=True).div_(self.count)
            left = None if self.behind is None else self.behind.pop_pending()
            if left is None:
                x = x.sub_(mean) if self.in_place else x - mean
            else:  # the input, which may be changed, lacks this bias of each channel
                away = (mean + left.mean(2, keepdim=True).unsqueeze(1)).sub(left.unsqueeze(1))
                x.view(*x.shape[:2], -1, left.shape[2]).sub_(away)
        squared = torch.mul(x, x, out=self.y)
        rstd = squared.sum(-1, keepdim=True).div_(self.count).add_(self.eps).rsqrt_()
        return x.mul_(rstd) if self.in_place or self.centred else x * rstd, rstd

    def _affine(self, x: Tensor, out: Tensor) -> Tensor:
        if self.weight is None:
            return x if out is x else out.copy_(x)
        if self.bias is None:
            return torch.mul(x, self.weight, out=out)
        return torch.addcmul(self.bias, x, self.weight, out=out)

    def forward(self, x: Tensor) -> Tensor:
        """Normalize each row."""
        rows = x.view(self.y.shape)
        self.x, self.rstd = self._fused(rows) if self.fused else self._standardised(rows)
        return self._affine(self.x, self.y).view(x.shape)

    def backward(self, gradient: Tensor) -> Tensor:
        """With h = γ·g: ∂x = (h − mean(h) − x̂·mean(h·x̂))/σ, and the parameters' gradients."""
        g = gradient.reshape(self.y.shape)
        if self.bias_gradient is not None:
            torch.sum(g, 1, out=self.bias_gradient)
        if self.fused:
            return self._fused_backward(g).view(gradient.shape)
        mean = self._weighted_mean(g) if self.centred else None
        product = torch.mul(g, self.x, out=self.y)
        if self.weight_gradient is not None:
            torch.sum(product, 1, out=self.weight_gradient)
        along = self._weighted_mean(product)
        if self.weight is None:
            back = torch.mul(g, self.rstd, out=product)
        else:
            back = torch.mul(g, self.weight, out=product).mul_(self.rstd)
        back.addcmul_(self.x, along)
        return (back if mean is None else back.add_(mean)).view(gradient.shape)

    def _weighted_mean(self, values: Tensor) -> Tensor:
        """−mean(γ·values)/σ over each row; there is one group."""
        if self.weight is None:
            found = values.sum(-1, keepdim=True)
        else:
            found = torch.bmm(values.squeeze(2), self.weight.squeeze(2).transpose(1, 2))
        return found.view(self.rstd.shape).mul_(self.rstd).mul_(-1.0 / self.count)

    def _fused_backward(self, g: Tensor) -> Tensor:
        """As if x̂ were the input, of mean 0 and deviation 1; then divided by the true σ."""
        h = g
        if self.weight is not None and self.weight_gradient is not None:
            torch.sum(torch.mul(g, self.x, out=self.y), 1, out=self.weight_gradient)
            h = torch.mul(g, self.weight, out=self.y)
        found: Tensor = torch.ops.aten.native_layer_norm_backward.default(
            h, self.x, [self.count], torch.zeros_like(self.rstd), torch.ones_like(self.rstd),
            None, None, [True, False, False],
        )[0]  # fmt: skip
        return found.mul_(self.rstd)

    def evaluate(self, x: Tensor, conditions: Conditions) -> Tensor:
        """The same function as in training."""
        del conditions
        left = None if self.behind is None else self.behind.pop_pending()
        if left is not None:
            x = add_per_channel(x, left)
        rows = x.reshape(x.shape[0], -1, *self.y.shape[2:])
        if self.centred:
            y = self._fused(rows)[0]
        else:
            y = rows * (rows.square().mean(-1, keepdim=True).add_(self.eps).rsqrt_())
        return self._affine(y, y).view(x.shape)


class RmsNorms(LayerNorms):
    """y = γ·x/√(mean(x²) + ε) over all values of a sample (Zhang & Sennrich 2019)."""

    centred = takes_bias = False
