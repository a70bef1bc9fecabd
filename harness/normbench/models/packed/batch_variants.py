"""Batch renorm and frozen batch norm of all members: what they do apart from batch norm."""

from __future__ import annotations

import torch
from torch import Tensor

from normbench.models.packed.batch_norm import BatchNorms
from normbench.models.packed.block import Block, Conditions
from normbench.models.packed.channel_norm import Centred, Correction
from normbench.models.packed.forms import Form, NormNode
from normbench.norms.batch_frozen import Freezing
from normbench.norms.batch_renorm import limits
from normbench.norms.schedule import Scheduled


class BatchRenorms(BatchNorms, Scheduled):
    """Batch renorm (Ioffe 2017), as :class:`normbench.norms.batch_renorm.BatchRenorm` computes it.

    With x̂·r + d in place of x̂, the scale is γ·r and the shift β + γ·d. No gradient passes through r
    and d, so that the input's gradient is batch norm's with that scale.
    """

    def __init__(self, node: NormNode, block: Block) -> None:
        super().__init__(node, block)
        names = ("r_max", "d_max", "plain", "r_by", "d_by")
        self.schedule = {name: float(node.params[name]) for name in names}

    def correction(self, found: Centred) -> Correction:
        """r and d of each set, from the running statistics before this step."""
        r_max, d_max = limits(self.done, **self.schedule)
        running, variance = (s.view(self.block.size, 1, 1, self.channels) for s in self.running)
        sigma = (variance + self.eps).sqrt()
        r = ((found.variance + self.eps).sqrt() / sigma).clamp_(1 / r_max, r_max)
        return r, ((found.mean - running) / sigma).clamp_(-d_max, d_max)


class FrozenBatchNorms(Freezing, BatchNorms):
    """Frozen batch norm: see :class:`normbench.norms.batch_frozen.FrozenBatchNorm`.

    Once frozen, a channel's map is affine.
    """

    def __init__(self, node: NormNode, block: Block) -> None:
        super().__init__(node, block)
        self.after = float(node.params["after"])

    def forward(self, x: Tensor) -> Tensor:
        """Normalize by the batch's statistics, or by the fixed ones."""
        if not self.frozen:
            return super().forward(x)
        one = (self.block.size, 1, 1, self.channels)
        mean, variance = (s.view(one) for s in self.running)
        rows = x.reshape(self.shape)
        rows = rows.sub_(mean) if self.node.in_place else rows - mean
        self.kept = Centred(rows, mean, variance, (variance + self.eps).rsqrt())
        y, self.gain = self.affine(self.kept, self.y, None)
        return y.view(x.shape)

    def backward(self, gradient: Tensor) -> Tensor:
        """With fixed statistics ∂x = γ/σ·g."""
        if not self.frozen:
            return super().backward(gradient)
        g = gradient.reshape(self.shape)
        sums = g.sum((1, 2), keepdim=True)
        if self.weight_gradient is not None and self.bias_gradient is not None:
            along = torch.mul(g, self.kept.x, out=self.y).sum((1, 2), keepdim=True)
            self.weight_gradient.copy_((along * self.kept.rstd).view(self.weight_gradient.shape))
            self.bias_gradient.copy_(sums.view(self.bias_gradient.shape))
        return g.mul_(self.gain).view(gradient.shape)

    def fixed(self, conditions: Conditions) -> bool:
        """Once frozen, the statistics are fixed in every mode."""
        return self.frozen or super().fixed(conditions)

    def evaluate(self, x: Tensor, conditions: Conditions) -> Tensor:
        """As batch norm; once frozen, the population's statistics are the fixed ones."""
        if self.frozen and conditions.mode == "collect":
            mean, variance = (s.double() for s in self.running)
            batches = x.shape[1] // conditions.batch
            second = variance + mean.square()
            members, name = self.block.members, self.node.name
            conditions.add(name, members, mean * batches, second * batches)
        return super().evaluate(x, conditions)


RENORM = Form(BatchRenorms, running=True, together=True)
FROZEN = Form(FrozenBatchNorms, running=True, together=True)
