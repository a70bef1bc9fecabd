"""Convolutions of all members as one with as many groups, for small batches.

A call of torch's convolution may cost as much as two images of it. Seen as the channels of one
image the members' images take one call, and the arithmetic of a group is that of a member's own.
"""

from __future__ import annotations

import torch
from torch import Tensor

from normbench.models.layers import Conv
from normbench.models.packed.block import Block, put
from normbench.models.packed.convolution import Ways, channels_first, convolved, gradients_of
from normbench.models.packed.evaluator import Conditions
from normbench.models.packed.graph import Node
from normbench.models.packed.together import apart, are_together, together
from normbench.models.packed.weighted import Weighted


class GroupedConvolutions(Weighted):
    """A 2-d convolution of each member: (members, N, H, W, C) to (members, N, H', W', outputs).

    Images lie together (see :mod:`.together`): where they come otherwise they are copied, and their
    gradient goes back as they came. With ``apart_output`` the output goes as most operations want
    it. The weight's gradient may be computed member by member, from images that lie apart.
    """

    def __init__(
        self, node: Node, layer: Conv, ways: Ways, block: Block, *, passes_back: bool
    ) -> None:
        super().__init__(node, block)
        self.layer, self.passes_back, self.apart_output = layer, passes_back, True
        self.by_member = ways[2] == "mk"
        k, channels = layer.kernel, node.before[-1]
        square = (block.size * self.outputs, k, k, channels)
        self.filters = channels_first(self.weight.view(square))
        self.filters_gradient = channels_first(self.weight_gradient.view(square))
        members, batch, work = block.size, block.batch, block.work
        height, width, _ = node.before
        shape = (batch, height, width, members, channels)
        self.inputs = work.take(f"{node.name} together", *shape)
        height, width, outputs = node.after
        shape = (batch, height, width, members, outputs)
        if passes_back or not self.by_member:
            self.gradients = work.take(f"{node.name} gradients together", *shape)
        self.x, self.came_together = self.inputs, False
        self.as_they_came = self.x

    def forward(self, x: Tensor) -> Tensor:
        """The output; keeps the input."""
        self.prepare_weight()
        self.pending = None
        bias = self.leave(None if self.bias_cancels else self.bias)
        self.came_together, self.as_they_came = are_together(x), x
        self.x = together(x, self.inputs)
        layer = self.layer
        y: Tensor = torch.ops.aten.convolution(
            self.x, self.filters, None if bias is None else bias.reshape(-1),
            [layer.stride] * 2, [layer.padding] * 2, [1, 1], False, [0, 0], len(x),
        )  # fmt: skip
        y = apart(y, len(x))
        return y.contiguous() if self.apart_output else y

    def backward(self, gradient: Tensor) -> Tensor:
        """The input's gradient, unless nothing before has parameters."""
        layer, members = self.layer, len(gradient)
        if not self.bias_given:
            torch.sum(gradient, (1, 2, 3), out=self.bias_gradient)
        back = gradient
        if self.passes_back or not self.by_member:
            back, weight = gradients_of(
                layer, together(gradient, self.gradients), self.x, self.filters,
                wanted=(self.passes_back, not self.by_member), groups=members,
            )  # fmt: skip
            if not self.by_member:
                put(self.filters_gradient, weight, self.carry)
        if self.by_member:
            self._weight_gradients(gradient.contiguous(), self.as_they_came.contiguous())
        self.finish_weight()
        if not self.passes_back:
            return gradient
        back = apart(back, members)
        return back if self.came_together else back.contiguous()

    def _weight_gradients(self, gradient: Tensor, images: Tensor) -> None:
        """Member by member: a call of it may take less than its share of one call for all."""
        filters, out = (
            values.view(len(gradient), -1, *values.shape[1:])
            for values in (self.filters, self.filters_gradient)
        )
        for i, given in enumerate(gradient):
            _, weight = gradients_of(
                self.layer, channels_first(given), channels_first(images[i]), filters[i],
                wanted=(False, True),
            )  # fmt: skip
            put(out[i], weight, self.carry)

    def evaluate(self, x: Tensor, conditions: Conditions) -> Tensor:
        """As in training, member by member: there are many samples."""
        weight, bias = self.affine(conditions)
        self.pending = None
        k = self.layer.kernel
        filters = channels_first(weight.view(*weight.shape[:2], k, k, -1))
        return convolved(self.layer, x, filters, bias, None)
