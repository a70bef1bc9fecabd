"""Norms with a scale per channel: batch, group and instance, from sums over positions.

An activation is seen as (members, sets, rows, channels): the rows of a set are those that one sum
over them covers. For batch norm a set is a (ghost) batch with all its positions, for group and
instance norm it is a sample; group norm then adds up the channels of a group.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from normbench.models.packed.block import Block, Conditions, Operation
from normbench.models.packed.forms import Form, NormNode
from normbench.models.packed.layer_norm import LayerNorms
from normbench.norms.group import groups_in


@dataclass
class Centred:
    """An input without its mean, and its statistics (members, sets, 1, channels)."""

    x: Tensor
    mean: Tensor
    variance: Tensor
    rstd: Tensor


#: r and d of batch renorm, (members, sets, 1, channels) each; None for other norms.
Correction = tuple[Tensor, Tensor] | None


class ChannelNorms(Operation):
    """y = γ·(x − μ)/√(σ² + ε) + β with μ and the biased σ² over a set, γ and β per channel."""

    def __init__(self, node: NormNode, block: Block) -> None:
        self.node, self.block, self.eps = node, block, float(node.params["eps"])
        self.channels = node.before[-1]
        self.positions = prod(node.before[:-1])
        self.groups = groups_in(node.params, self.channels) or self.channels
        self.shape = self.set_shape(block.size, block.batch)
        members, sets, rows, channels = self.shape
        if node.together:
            name = f"{node.name} output of {members} together"
            self.y = block.work.take(name, sets, rows, members, channels).permute(2, 0, 1, 3)
        else:
            self.y = block.work.take(f"{node.name} output", *self.shape)
        self.weight, self.bias, self.weight_gradient, self.bias_gradient = block.affine(
            node.name, (members, 1, 1, channels), (members, channels)
        )
        self.gain = self.y
        self.kept = Centred(self.y, self.y, self.y, self.y)
        self.corrected: Correction = None

    def set_shape(self, members: int, samples: int) -> tuple[int, int, int, int]:
        """The view of ``samples`` samples: each one is a set."""
        return (members, samples, self.positions, self.channels)

    def average(self, sums: Tensor, rows: int) -> Tensor:
        """Sums over the rows of a set as means of what a statistic covers; ``sums`` is kept."""
        if self.groups == self.channels:
            return sums / rows
        members, sets, _, channels = sums.shape
        grouped = sums.view(members, sets, 1, self.groups, -1)
        means = grouped.sum(-1, keepdim=True).div_(rows * (channels // self.groups))
        return means.repeat_interleave(channels // self.groups, -1).view(sums.shape)

    def centre(self, x: Tensor, squares: Tensor | None = None) -> Centred:
        """Take the mean off and find the variance; ``squares`` is memory of the shape of x."""
        rows = x.shape[2]
        mean = self.average(x.sum(2, keepdim=True), rows)
        x = x.sub_(mean) if self.node.in_place else x - mean
        squared = x * x if squares is None else torch.mul(x, x, out=squares)
        variance = self.average(squared.sum(2, keepdim=True), rows)
        return Centred(x, mean, variance, (variance + self.eps).rsqrt_())

    def correction(self, found: Centred) -> Correction:
        """r and d, where x̂·r + d takes the place of x̂."""
        del found
        return None

    def affine(self, centred: Centred, out: Tensor, corrected: Correction) -> tuple[Tensor, Tensor]:
        """The output from the centred input, and the input's factor."""
        scale, shift = self.weight, self.bias
        if corrected is not None:
            r, d = corrected
            scale = r if self.weight is None else r * self.weight
            shift = d if self.weight is None else d * self.weight
            shift = shift if self.bias is None else shift + self.bias
        gain = centred.rstd if scale is None else centred.rstd * scale
        if shift is None:
            return torch.mul(centred.x, gain, out=out), gain
        return torch.addcmul(shift, centred.x, gain, out=out), gain

    def forward(self, x: Tensor) -> Tensor:
        """Normalize each set."""
        self.kept = self.centre(x.reshape(self.shape), self.y)
        self.corrected = self.correction(self.kept)
        self.update_running(self.kept)
        y, self.gain = self.affine(self.kept, self.y, self.corrected)
        return y.view(x.shape)

    def update_running(self, found: Centred) -> None:
        """Move running statistics; these norms have none."""

    def backward(self, gradient: Tensor) -> Tensor:
        """With h = γ·g: ∂x = (h − mean(h) − x̂·mean(h·x̂))/σ, and the parameters' gradients."""
        kept = self.kept
        g, rows = gradient.reshape(self.shape), self.shape[2]
        sums = g.sum(2, keepdim=True)
        product = torch.mul(g, kept.x, out=self.y)
        along = product.sum(2, keepdim=True)
        if self.weight_gradient is not None and self.bias_gradient is not None:
            slopes = along * kept.rstd
            if self.corrected is not None:
                r, d = self.corrected
                slopes = (slopes * r).addcmul_(sums, d)
            torch.sum(slopes.squeeze(2), 1, out=self.weight_gradient)
            torch.sum(sums.squeeze(2), 1, out=self.bias_gradient)
        for factor in (self.weight, None if self.corrected is None else self.corrected[0]):
            if factor is not None:
                along, sums = along * factor, sums * factor
        slope = self.average(along, rows).mul_(kept.rstd.pow(3)).neg_()
        shift = self.average(sums, rows).mul_(kept.rstd).neg_()
        back = torch.addcmul(shift, kept.x, slope, out=product)
        return back.addcmul_(g, self.gain).view(gradient.shape)

    def evaluate(self, x: Tensor, conditions: Conditions) -> Tensor:
        """The same function as in training."""
        del conditions
        return self.normalized(x, self.set_shape(x.shape[0], x.shape[1]))[0]

    def normalized(self, x: Tensor, shape: tuple[int, ...]) -> tuple[Tensor, Centred]:
        """The output by the statistics of each set of ``shape``, and these; keeps nothing."""
        found = self.centre(x.reshape(shape))
        # what is centred is nobody's from here on
        return self.affine(found, found.x, self.correction(found))[0].view(x.shape), found


def group_norm(node: NormNode, block: Block) -> Operation:
    """Group norm of images or vectors; the groups of a vector are rows of their own."""
    return ChannelNorms(node, block) if len(node.before) == 3 else LayerNorms(node, block)


INSTANCE = Form(ChannelNorms, together=True)
GROUP = Form(group_norm, together=True)
WEIGHT_STANDARDIZED = Form(
    group_norm, lambda params: params["groups"] > 0, "standardized", together=True
)
