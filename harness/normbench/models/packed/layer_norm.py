"""Norms of all members whose statistics are those of rows: samples, or the channels of a pixel."""

from __future__ import annotations

from math import prod

import torch
from torch import Tensor

from normbench.models.packed.block import Block, Conditions, Operation
from normbench.models.packed.forms import Form, NormNode
from normbench.norms.group import groups_in


class LayerNorms(Operation):
    """y = γ·x̂ + β with x̂ = (x − μ)/√(σ² + ε) over each row (Ba, Kiros & Hinton 2016).

    A row is a sample, or where a norm has a scale per channel each position of a sample. A vector
    under group norm (Wu & He 2018) is as many rows as it has groups: values are seen as (members,
    N·rows, groups, values).
    """

    def __init__(self, node: NormNode, block: Block) -> None:
        self.eps = float(node.params["eps"])
        groups = groups_in(node.params, node.before[-1]) or 1
        whole = prod(node.before) if node.form.per_element else node.before[-1]
        rows, self.count = prod(node.before) // whole, whole // groups
        row, gradient = (block.size, 1, groups, self.count), (block.size, groups, self.count)
        self.weight, self.bias, self.weight_gradient, self.bias_gradient = block.affine(
            node.name, row, gradient
        )
        shape = (block.size, block.batch * rows, groups, self.count)
        self.y = block.work.take(f"{node.name} output", *shape)
        self.x = self.rstd = self.y

    def _normalized(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x̂ and 1/σ, by torch's kernel, which takes the place of seven operations."""
        y, _, rstd = torch.native_layer_norm(x, [self.count], None, None, self.eps)
        return y, rstd

    def _back(self, h: Tensor) -> Tensor:
        """From the gradient of x̂ that of x: as if x̂ were the input, and then divided by σ."""
        found: Tensor = torch.ops.aten.native_layer_norm_backward.default(
            h, self.x, [self.count], torch.zeros_like(self.rstd), torch.ones_like(self.rstd),
            None, None, [True, False, False],
        )[0]  # fmt: skip
        return found.mul_(self.rstd)

    def _affine(self, x: Tensor, out: Tensor) -> Tensor:
        if self.weight is None:
            return x if out is x else out.copy_(x)
        if self.bias is None:
            return torch.mul(x, self.weight, out=out)
        return torch.addcmul(self.bias, x, self.weight, out=out)

    def forward(self, x: Tensor) -> Tensor:
        """Normalize each row."""
        self.x, self.rstd = self._normalized(x.view(self.y.shape))
        return self._affine(self.x, self.y).view(x.shape)

    def backward(self, gradient: Tensor) -> Tensor:
        """The input's gradient and those of the parameters."""
        h = g = gradient.reshape(self.y.shape)
        if self.bias_gradient is not None:
            torch.sum(g, 1, out=self.bias_gradient)
        if self.weight is not None and self.weight_gradient is not None:
            torch.sum(torch.mul(g, self.x, out=self.y), 1, out=self.weight_gradient)
            h = torch.mul(g, self.weight, out=self.y)
        return self._back(h).view(gradient.shape)

    def evaluate(self, x: Tensor, conditions: Conditions) -> Tensor:
        """The same function as in training."""
        del conditions
        y, _ = self._normalized(x.reshape(x.shape[0], -1, *self.y.shape[2:]))
        return self._affine(y, y).view(x.shape)


class RmsNorms(LayerNorms):
    """y = γ·x̂ with x̂ = x/√(mean(x²) + ε) over all values of a sample (Zhang & Sennrich 2019)."""

    def _normalized(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x̂ and the factor that it has."""
        rstd = x.square().mean(-1, keepdim=True).add_(self.eps).rsqrt_()
        return x * rstd, rstd

    def _back(self, h: Tensor) -> Tensor:
        """∂x = (h − x̂·mean(h·x̂))/√(mean(x²) + ε)."""
        along = (h * self.x).mean(-1, keepdim=True)
        return torch.addcmul(h, self.x, along, value=-1).mul_(self.rstd)


LAYER = Form(LayerNorms, per_element=True)
LAYER_CHANNELS = Form(LayerNorms)
RMS = Form(RmsNorms, per_element=True, scales=("weight",))
