"""Batch norm of all members; its variants are in :mod:`.batch_variants`."""

from __future__ import annotations

import torch
from torch import Tensor

from normbench.models.packed.block import Block, Conditions
from normbench.models.packed.channel_norm import Centred, ChannelNorms
from normbench.models.packed.forms import Form, NormNode


class BatchNorms(ChannelNorms):
    """Batch norm of each member (Ioffe & Szegedy 2015), with ghost batches where asked for.

    The numbers, the running statistics and the modes of evaluation are those of
    :class:`normbench.norms.batch.BatchNorm`.
    """

    def __init__(self, node: NormNode, block: Block) -> None:
        self.ghost = node.ghost if 0 < node.ghost < block.batch else block.batch
        super().__init__(node, block)
        self.momentum = float(node.params["momentum"])
        self.running = tuple(running[block.members] for running in block.running[node.name])

    def set_shape(self, members: int, samples: int) -> tuple[int, int, int, int]:
        """The view of ``samples`` samples: each ghost batch is a set."""
        return (members, samples // self.ghost, self.ghost * self.positions, self.channels)

    def update_running(self, found: Centred) -> None:
        """Move the running statistics by the mean over the ghost batches."""
        rows = self.shape[2]
        mean, variance = (s.mean(1).squeeze(1) for s in (found.mean, found.variance))
        self.running[0].lerp_(mean, self.update_weight())
        self.running[1].lerp_(variance * (rows / (rows - 1)), self.update_weight())

    def update_weight(self) -> float:
        """What a new batch weighs in the running statistics."""
        return self.momentum

    def fixed(self, conditions: Conditions) -> bool:
        """Whether the output is γ·(x − μ)/√(σ² + ε) + β with running statistics."""
        return conditions.mode == "running"

    def gain_and_shift(self, conditions: Conditions) -> tuple[Tensor, Tensor]:
        """Factor and summand (members, channels) of the input with running statistics."""
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
            one = (self.block.size, *([1] * (x.dim() - 2)), self.channels)
            gain, shift = (values.view(one) for values in self.gain_and_shift(conditions))
            return torch.addcmul(shift, x, gain)
        samples, batch = x.shape[1], conditions.batch
        if batch < 1 or samples % batch:
            raise ValueError(
                f"batch statistics need whole batches of {batch} samples; received {samples}"
            )
        shape = (x.shape[0], samples // batch, batch * self.positions, self.channels)
        y, found = self.normalized(x, shape)
        if conditions.mode == "collect":
            mean = found.mean.double().squeeze(2)
            second = found.variance.double().squeeze(2) + mean.square()
            conditions.add(self.node.name, members, mean.sum(1), second.sum(1))
        return y


BATCH = Form(BatchNorms, running=True, together=True)
