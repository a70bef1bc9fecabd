"""Norms with a scale per channel: batch, group and instance, from sums over positions.

An activation is seen as (members, sets, rows, channels): the rows of a set are those that one sum
over them covers. For batch norm a set is a (ghost) batch with all its positions, for group and
instance norm it is a sample; group norm then adds up the channels of a group.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor

from normbench.models.packed.block import Block, Operation, Workspace
from normbench.models.packed.evaluator import Conditions
from normbench.models.packed.graph import Node
from normbench.models.packed.weighted import Weighted

#: Up to so many channels a group's mean is a product with a matrix.
FEW_CHANNELS = 64


def affine_of(node: Node, tensors: Mapping[str, Tensor]) -> tuple[Tensor | None, Tensor | None]:
    """A norm's scale and shift among parameters or gradients; None where it has none."""
    return tensors.get(f"{node.name}.weight"), tensors.get(f"{node.name}.bias")


def add_per_channel(x: Tensor, values: Tensor) -> Tensor:
    """Add values (members, 1, channels) to an input (members, …, channels) in place."""
    return x.add_(values.view(-1, *[1] * (x.dim() - 2), x.shape[-1]))


@dataclass
class Centred:
    """An input without its mean, and its statistics (members, sets, 1, channels).

    ``total`` is the sum of the centred rows, None where it is zero by construction.
    """

    x: Tensor
    mean: Tensor
    variance: Tensor
    rstd: Tensor
    total: Tensor | None


#: r and d of batch renorm, (members, sets, 1, channels) each; None for other norms.
Correction = tuple[Tensor, Tensor] | None


class ChannelNorms(Operation):
    """y = γ·(x − μ)/√(σ² + ε) + β with μ and the biased σ² over a set, γ and β per channel.

    ``behind`` is the layer with weights that the norm stands right behind, if any: its output may
    be changed in place, and its bias's gradient is written here.
    """

    #: Whether the layer before may leave its bias to the norm, or out where a mean is taken off.
    spares_bias = True

    def __init__(self, node: Node, block: Block, params: Mapping[str, Any]) -> None:
        self.node, self.block, self.eps = node, block, float(params["eps"])
        self.channels = node.before[-1]
        self.positions = prod(node.before[:-1])
        self.groups = int(params.get("groups", self.channels))
        self.behind: Weighted | None = None
        self.shape = self.set_shape(block.size, block.batch)
        self.y = self._output(block.work)
        weight, bias = affine_of(node, block.values)
        per_channel = (block.size, 1, 1, self.channels)
        self.weight = None if weight is None else weight.view(per_channel)
        self.bias = None if bias is None else bias.view(per_channel)
        self.weight_gradient, self.bias_gradient = affine_of(node, block.gradients)
        #: Adds up the channels of a group and spreads the mean, (channels, channels).
        self.averaging = self._averaging()
        self.gain = self.y
        self.kept: Centred | None = None
        self.corrected: Correction = None

    def _output(self, work: Workspace) -> Tensor:
        return work.take(f"{self.node.name} output", *self.shape)

    def set_shape(self, members: int, samples: int) -> tuple[int, int, int, int]:
        """The view of ``samples`` samples: each one is a set."""
        return (members, samples, self.positions, self.channels)

    def _averaging(self) -> Tensor | None:
        few = self.groups < self.channels <= FEW_CHANNELS
        if not few or self.y.is_meta:  # there calls import sympy, and nothing is averaged
            return None
        size = self.channels // self.groups
        group = torch.arange(self.channels, device=self.y.device) // size
        return (group == group.unsqueeze(1)).to(self.y.dtype).div_(size)

    def average(self, sums: Tensor, rows: int) -> Tensor:
        """Sums over the rows of a set as means of what a statistic covers; ``sums`` is kept."""
        if self.groups == self.channels:
            return sums / rows
        if self.averaging is not None:  # one product, where three calls would take longer
            flat = sums.reshape(-1, self.channels)
            return torch.mm(flat, self.averaging).div_(rows).view(sums.shape)
        members, sets, _, channels = sums.shape
        grouped = sums.view(members, sets, 1, self.groups, -1)
        means = grouped.sum(-1, keepdim=True).div_(rows * (channels // self.groups))
        return means.repeat_interleave(channels // self.groups, -1).view(sums.shape)

    def centre(self, x: Tensor, squares: Tensor | None, *, in_place: bool) -> Centred:
        """Take the mean off and find the variance; ``squares`` is memory of the shape of x."""
        rows = x.shape[2]
        sums = x.sum(2, keepdim=True)
        left = None if self.behind is None else self.behind.pop_pending()
        if left is None:
            mean = away = self.average(sums, rows)
        else:  # the input lacks this bias
            left = left.unsqueeze(1)
            mean = self.average(sums.add_(left, alpha=rows), rows)
            away = mean - left
        x = x.sub_(away) if in_place else x - away
        total = None if self.groups == self.channels else sums.sub_(mean, alpha=rows)
        squared = torch.mul(x, x, out=squared) if (squared := squares) is not None else x * x
        variance = self.average(squared.sum(2, keepdim=True), rows)
        rstd = (variance + self.eps).rsqrt_()
        return Centred(x, mean, variance, rstd, total)

    def correction(self, found: Centred, *, training: bool) -> Correction:
        """r and d, where x̂·r + d takes the place of x̂."""
        del found, training
        return None

    def affine(self, centred: Centred, out: Tensor | None, corrected: Correction) -> Tensor:
        """The output from the centred input; keeps the factor of the input."""
        scale, shift = self.weight, self.bias
        if corrected is not None:
            r, d = corrected
            scale = r if self.weight is None else r * self.weight
            shift = d if self.weight is None else d * self.weight
            shift = shift if self.bias is None else shift + self.bias
        self.gain = centred.rstd if scale is None else centred.rstd * scale
        if shift is None:
            return torch.mul(centred.x, self.gain, out=out)
        return torch.addcmul(shift, centred.x, self.gain, out=out)

    def true_mean(self, found: Centred) -> Tensor:
        """The mean in training, with the bias that the layer before has left out."""
        if self.behind is None or not self.behind.bias_cancels:
            return found.mean
        return found.mean + self.behind.bias.unsqueeze(1)

    def forward(self, x: Tensor) -> Tensor:
        """Normalize each set."""
        self.kept = self.centre(x.view(self.shape), self.y, in_place=self.behind is not None)
        self.corrected = self.correction(self.kept, training=True)
        self.update_running(self.kept)
        return self.affine(self.kept, self.y, self.corrected).view(x.shape)

    def update_running(self, found: Centred) -> None:
        """Move running statistics; these norms have none."""

    def backward(self, gradient: Tensor) -> Tensor:
        """With h = γ·g: ∂x = (h − mean(h) − x̂·mean(h·x̂))/σ, and the parameters' gradients."""
        kept = self.kept
        if kept is None:
            raise RuntimeError("backward without forward")
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
        scaled = sums
        for factor in (self.weight, None if self.corrected is None else self.corrected[0]):
            if factor is not None:
                along, scaled = along * factor, scaled * factor
        slope = self.average(along, rows).mul_(kept.rstd.pow(3)).neg_()
        shift = self.average(scaled, rows).mul_(kept.rstd).neg_()
        if self.behind is not None:
            self._bias_behind(self.behind.bias_gradient, kept, sums, slope, shift)
        back = torch.addcmul(shift, kept.x, slope, out=product)
        return back.addcmul_(g, self.gain).view(gradient.shape)

    def _bias_behind(
        self, out: Tensor, kept: Centred, sums: Tensor, slope: Tensor, shift: Tensor
    ) -> None:
        """The sum of the input's gradient: zero where a mean is taken off each channel."""
        if kept.total is None:
            out.zero_()
            return
        parts = (self.gain * sums).addcmul_(slope, kept.total).add_(shift, alpha=self.shape[2])
        torch.sum(parts.squeeze(2), 1, out=out)

    def evaluate(self, x: Tensor, conditions: Conditions) -> Tensor:
        """The same function as in training."""
        del conditions
        return self._normalized(x, self.set_shape(x.shape[0], x.shape[1]))[0]

    def _normalized(self, x: Tensor, shape: tuple[int, ...]) -> tuple[Tensor, Centred]:
        gain = self.gain
        # what the layer before returns is nobody else's
        found = self.centre(x.reshape(shape), None, in_place=self.behind is not None)
        # and what is centred is nobody's from here on
        y = self.affine(found, found.x, self.correction(found, training=False)).view(x.shape)
        self.gain = gain
        return y, found


class TogetherChannelNorms(ChannelNorms):
    """The same for images that lie together (see :mod:`.together`), which are left so."""

    def _output(self, work: Workspace) -> Tensor:
        members, sets, rows, channels = self.shape
        name = f"{self.node.name} output of {members} together"
        return work.take(name, sets, rows, members, channels).permute(2, 0, 1, 3)


class BatchNorms(ChannelNorms):
    """Batch norm of each member (Ioffe & Szegedy 2015), with ghost batches where asked for.

    The numbers, the running statistics and the modes of evaluation are those of
    :class:`normbench.norms.batch.BatchNorm`.
    """

    def __init__(self, node: Node, block: Block, params: Mapping[str, Any], ghost: int) -> None:
        self.ghost = ghost if 0 < ghost < block.batch else block.batch
        super().__init__(node, block, params)
        self.momentum = float(params["momentum"])
        #: Whether a pool stands behind, which adds what bias is left.
        self.pool_follows = False
        self.running = tuple(running[block.members] for running in block.running[node.name])

    def set_shape(self, members: int, samples: int) -> tuple[int, int, int, int]:
        """The view of ``samples`` samples: each ghost batch is a set."""
        return (members, samples // self.ghost, self.ghost * self.positions, self.channels)

    def update_running(self, found: Centred) -> None:
        """Move the running statistics by the mean over the ghost batches."""
        rows = self.shape[2]
        mean, variance = (s.mean(1).squeeze(1) for s in (self.true_mean(found), found.variance))
        self.running[0].lerp_(mean, self.update_weight())
        self.running[1].lerp_(variance * (rows / (rows - 1)), self.update_weight())

    def update_weight(self) -> float:
        """What a new batch weighs in the running statistics."""
        return self.momentum

    def fixed(self, conditions: Conditions) -> bool:
        """Whether the output is γ·(x − μ)/√(σ² + ε) + β with running statistics."""
        return conditions.mode == "running"

    def gain_and_shift(self, conditions: Conditions) -> tuple[Tensor, Tensor]:
        """Factor and summand (members, channels) of an input with running statistics."""
        mean, variance = (s[self.block.members] for s in conditions.running[self.node.name])
        gain = (variance + self.eps).rsqrt_()
        if self.weight is not None:
            gain = gain * self.weight.view(gain.shape)
        shift = mean * -gain
        return gain, shift if self.bias is None else shift + self.bias.view(gain.shape)

    def evaluate(self, x: Tensor, conditions: Conditions) -> Tensor:
        """Normalize by running statistics or by those of each batch."""
        members = self.block.members
        if self.fixed(conditions):
            if self.behind is not None:  # which has done it with its weights
                left = None if self.pool_follows else self.behind.pop_pending()
                return x if left is None else add_per_channel(x, left)
            one = (self.block.size, *([1] * (x.dim() - 2)), self.channels)
            gain, shift = (values.view(one) for values in self.gain_and_shift(conditions))
            return torch.addcmul(shift, x, gain)
        samples, batch = x.shape[1], conditions.batch
        if batch < 1 or samples % batch:
            raise ValueError(
                f"batch statistics need whole batches of {batch} samples; received {samples}"
            )
        shape = (x.shape[0], samples // batch, batch * self.positions, self.channels)
        y, found = self._normalized(x, shape)
        if conditions.mode == "collect":
            mean = found.mean.double().squeeze(2)
            second = found.variance.double().squeeze(2) + mean.square()
            conditions.add(self.node.name, members, mean.sum(1), second.sum(1))
        return y
