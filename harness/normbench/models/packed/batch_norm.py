"""Batch norm of all members; its variants are in :mod:`.batch_variants`.

Small vectors of all members, and images that lie together, are seen as those of one wide layer, for
torch's own kernel, which goes over the values fewer times. All else is computed operation by
operation.
"""

from __future__ import annotations

from math import prod

import torch
from torch import Tensor

from normbench.models.packed.block import Block
from normbench.models.packed.channel_norm import Centred, ChannelNorms
from normbench.models.packed.evaluator import Conditions
from normbench.models.packed.forms import Form
from normbench.models.packed.graph import NormNode
from normbench.models.packed.together import apart, together

#: Vectors of all members with at most so many values are small.
SMALL_VALUES = 1 << 16


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


class VectorBatchNorms(BatchNorms):
    """Batch norm of (members, N, features), seen as (N, members·features).

    A feature's statistics are its own, so the members' features are as many features of one layer.
    For small batches the calls of :class:`BatchNorms`' operations take longer than their values.
    """

    def __init__(self, node: NormNode, block: Block) -> None:
        super().__init__(node, block)
        mean, variance = (running.reshape(-1) for running in self.running)
        self.flat = mean, variance
        self.flat_weight = None if self.weight is None else self.weight.reshape(-1)
        self.flat_bias = None if self.bias is None else self.bias.reshape(-1)
        self.rows = self.saved_mean = self.saved_rstd = mean

    def _side_by_side(self, x: Tensor) -> Tensor:
        return x.transpose(0, 1).reshape(x.shape[1], -1)

    def _one_by_one(self, rows: Tensor) -> Tensor:
        return rows.view(len(rows), -1, self.channels).transpose(0, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Normalize by the batch's statistics, and move the running ones."""
        self.rows = self._side_by_side(x)
        y, self.saved_mean, self.saved_rstd = torch.ops.aten.native_batch_norm(
            self.rows, self.flat_weight, self.flat_bias, *self.flat, True, self.momentum, self.eps
        )
        return self._one_by_one(y)

    def backward(self, gradient: Tensor) -> Tensor:
        """The input's gradient; the parameters' are written, a bias before it has none."""
        affine = self.flat_weight is not None
        back, weight, bias = torch.ops.aten.native_batch_norm_backward(
            self._side_by_side(gradient), self.rows, self.flat_weight, *self.flat,
            self.saved_mean, self.saved_rstd, True, self.eps, [True, affine, affine],
        )  # fmt: skip
        if self.weight_gradient is not None and self.bias_gradient is not None:
            self.weight_gradient.copy_(weight.view(self.weight_gradient.shape))
            self.bias_gradient.copy_(bias.view(self.bias_gradient.shape))
        return self._one_by_one(back)


class TogetherBatchNorms(VectorBatchNorms):
    """Batch norm of images that lie together: the members' channels are those of one image."""

    def _side_by_side(self, x: Tensor) -> Tensor:
        return together(x)

    def _one_by_one(self, rows: Tensor) -> Tensor:
        return apart(rows, self.block.size)


def batch_norm(node: NormNode, block: Block) -> BatchNorms:
    """Batch norm in the form that suits the shapes."""
    small = len(node.before) == 1 and block.size * block.batch * prod(node.before) <= SMALL_VALUES
    if 0 < node.ghost < block.batch or not (node.together or small):
        return BatchNorms(node, block)
    return (TogetherBatchNorms if node.together else VectorBatchNorms)(node, block)


BATCH = Form(batch_norm, running=True, together=True)
