"""Batch and layer norm by torch's own kernels, which go over the values fewer times.

They know of one layer, not of many members. Small vectors of all members are seen as those of one
wide layer; large activations are normalized member by member, where a call costs little. What lies
between is faster operation by operation, for all members at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor

from normbench.models.packed.block import Block, stacked
from normbench.models.packed.graph import Node
from normbench.models.packed.layer_norm import LayerNorms
from normbench.models.packed.normalize import BatchNorms
from normbench.models.packed.together import apart, together

#: Vectors of all members with at most so many values are small.
SMALL_VALUES = 1 << 16
#: Activations of a member with at least so many values are large, for layer and for batch norm.
LARGE_ROWS, LARGE_BATCH = 1 << 16, 1 << 18


def batch_norm(
    node: Node, block: Block, params: Mapping[str, Any], ghost: int, *, grouped: bool = False
) -> BatchNorms:
    """Batch norm in the form that suits the shapes; ``ghost`` samples share statistics, or all.

    Images come from a ``grouped`` convolution, or as most operations have them.
    """
    if 0 < ghost < block.batch:
        return BatchNorms(node, block, params, ghost)
    if grouped and len(node.before) == 3:
        return TogetherBatchNorms(node, block, params, ghost)
    values = block.batch * prod(node.before)
    if len(node.before) == 1 and block.size * values <= SMALL_VALUES:
        return VectorBatchNorms(node, block, params, ghost)
    if len(node.before) == 3 and values >= LARGE_BATCH and _on_cpu(block):
        return MemberBatchNorms(node, block, params, ghost)
    return BatchNorms(node, block, params, ghost)


def layer_norm(node: Node, block: Block, params: Mapping[str, Any]) -> LayerNorms:
    """Layer norm over samples or over channels, in the form that suits the shapes."""
    found = LayerNorms(node, block, params)
    large = node.per_element and block.batch * prod(node.before) >= LARGE_ROWS
    if large and _on_cpu(block) and not found.fused and found.weight is not None:
        return MemberLayerNorms(node, block, params)
    return found


def _on_cpu(block: Block) -> bool:
    """Whether calls cost little beside what they compute."""
    return torch.device(block.work.device).type == "cpu"


def _keep(member: int, slopes: Sequence[Tensor], *gradients: Tensor | None) -> None:
    """Write a member's gradients of scale and shift, where there are any."""
    for out, slope in zip(gradients, slopes, strict=True):
        if out is not None:
            out[member].copy_(slope.view(out.shape[1:]))


class MemberLayerNorms(LayerNorms):
    """Layer norm of large samples, one call for each member."""

    takes_bias = False

    def forward(self, x: Tensor) -> Tensor:
        """Normalize each sample."""
        rows, found, self.saved = x.flatten(2), [], []
        for member, weight, bias in zip(rows, *self._affine_rows(), strict=True):
            y, mean, rstd = torch.native_layer_norm(member, [self.count], weight, bias, self.eps)
            found.append(y)
            self.saved.append((member, mean, rstd))
        return stacked(found, self.y.view(rows.shape)).view(x.shape)

    def backward(self, gradient: Tensor) -> Tensor:
        """The input's gradient and those of the parameters."""
        given, found = gradient.flatten(2), []
        for i, (weight, bias) in enumerate(zip(*self._affine_rows(), strict=True)):
            x, mean, rstd = self.saved[i]
            back, *slopes = torch.ops.aten.native_layer_norm_backward.default(
                given[i], x, [self.count], mean, rstd, weight, bias, [True, True, True]
            )
            _keep(i, slopes, self.weight_gradient, self.bias_gradient)
            found.append(back)
        return stacked(found, self.y.view(given.shape)).view(gradient.shape)

    def _affine_rows(self) -> tuple[Tensor, Tensor]:
        if self.weight is None or self.bias is None:
            raise RuntimeError("layer norm without scale and shift has another form")
        return self.weight.flatten(1), self.bias.flatten(1)


class MemberBatchNorms(BatchNorms):
    """Batch norm of large images, one call for each member."""

    spares_bias = False

    def forward(self, x: Tensor) -> Tensor:
        """Normalize by the batch's statistics, and move the running ones."""
        self.saved = []
        y = self.y.view(x.shape)
        for i, (weight, bias) in enumerate(zip(*self._affine_rows(), strict=True)):
            images = x[i].permute(0, 3, 1, 2)
            mean, rstd = x.new_empty(self.channels), x.new_empty(self.channels)
            torch.ops.aten.native_batch_norm.out(
                images, weight, bias, self.running[0][i], self.running[1][i], True,
                self.momentum, self.eps,
                out=y[i].permute(0, 3, 1, 2), save_mean=mean, save_invstd=rstd,
            )  # fmt: skip
            self.saved.append((images, mean, rstd))
        return y

    def backward(self, gradient: Tensor) -> Tensor:
        """The input's gradient; the parameters' are written, a bias before it has none."""
        found = []
        for i, (weight, _) in enumerate(zip(*self._affine_rows(), strict=True)):
            affine = weight is not None
            images, mean, rstd = self.saved[i]
            back, *slopes = torch.ops.aten.native_batch_norm_backward(
                gradient[i].permute(0, 3, 1, 2), images, weight,
                self.running[0][i], self.running[1][i], mean, rstd, True, self.eps,
                [True, affine, affine],
            )  # fmt: skip
            _keep(i, slopes, self.weight_gradient, self.bias_gradient)
            found.append(back.permute(0, 2, 3, 1))
        if self.behind is not None:
            self.behind.bias_gradient.zero_()
        return stacked(found, self.y.view(gradient.shape))

    def _affine_rows(self) -> tuple[Sequence[Tensor | None], Sequence[Tensor | None]]:
        nothing = [None] * self.block.size
        weight = nothing if self.weight is None else list(self.weight.flatten(1))
        bias = nothing if self.bias is None else list(self.bias.flatten(1))
        return weight, bias


class VectorBatchNorms(BatchNorms):
    """Batch norm of (members, N, features), seen as (N, members·features).

    A feature's statistics are its own, so the members' features are as many features of one layer.
    For small batches the calls of :class:`BatchNorms`' operations take longer than their values.
    """

    spares_bias = False

    def __init__(self, node: Node, block: Block, params: Mapping[str, Any], ghost: int) -> None:
        super().__init__(node, block, params, ghost)
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
        if self.behind is not None:
            self.behind.bias_gradient.zero_()
        return self._one_by_one(back)


class TogetherBatchNorms(VectorBatchNorms):
    """Batch norm of images that lie together: the members' channels are those of one image."""

    def _side_by_side(self, x: Tensor) -> Tensor:
        return together(x)

    def _one_by_one(self, rows: Tensor) -> Tensor:
        return apart(rows, self.block.size)
