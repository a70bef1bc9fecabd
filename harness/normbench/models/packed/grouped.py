"""Convolutions of all members as one with as many groups.

A call of torch's convolution may cost as much as two images of it. Seen as the channels of one
image the members' images take one call, and the arithmetic of a group is that of a member's own.
"""

from __future__ import annotations

import torch
from torch import Tensor

from normbench.models.packed.block import Block, Conditions, Operation
from normbench.models.packed.graph import ArrangeNode, ConvNode
from normbench.models.packed.together import apart, together
from normbench.models.packed.weights import Weighted


def _filters(values: Tensor, node: ConvNode) -> Tensor:
    """A weight (members, outputs, fan-in) as (members, outputs, C, k, k), channels last."""
    square = (node.kernel, node.kernel, node.before[-1])
    return values.view(*values.shape[:2], *square).movedim(-1, 2)


class GroupedConvolutions(Weighted):
    """A 2-d convolution of each member: (members, N, H, W, C) to (members, N, H', W', outputs).

    Images of all members lie together (see :mod:`.together`), before and behind it.
    """

    def __init__(self, node: ConvNode, block: Block) -> None:
        super().__init__(node, block)
        self.conv = node
        self.filters = _filters(self.weight, node).flatten(0, 1)
        self.filters_gradient = _filters(self.weight_gradient, node).flatten(0, 1)
        self.x = self.filters

    def forward(self, x: Tensor) -> Tensor:
        """The output; keeps the input."""
        self.prepare_weight()
        self.x = together(x)
        return apart(self._convolved(self.x, self.filters, None, len(x)), len(x))

    def _convolved(self, x: Tensor, filters: Tensor, bias: Tensor | None, groups: int) -> Tensor:
        stride, padding = [self.conv.stride] * 2, [self.conv.padding] * 2
        found: Tensor = torch.ops.aten.convolution(
            x, filters, bias, stride, padding, [1, 1], False, [0, 0], groups
        )
        return found

    def backward(self, gradient: Tensor) -> Tensor:
        """The input's gradient, unless nothing before has parameters."""
        back, weight, _ = torch.ops.aten.convolution_backward(
            together(gradient), self.x, self.filters, [len(self.filters)],
            [self.conv.stride] * 2, [self.conv.padding] * 2, [1, 1], False, [0, 0], len(gradient),
            [self.passes_back, True, False],
        )  # fmt: skip
        self.filters_gradient.copy_(weight)
        self.finish_weight()
        return apart(back, len(gradient)) if self.passes_back else gradient

    def computed(
        self, x: Tensor, weight: Tensor, bias: Tensor | None, conditions: Conditions
    ) -> Tensor:
        """See :class:`Weighted`; member by member: there are many samples."""
        del conditions
        filters = _filters(weight, self.conv)
        found = [
            self._convolved(
                images.movedim(-1, 1), own, None if bias is None else bias[i, 0], 1
            ).movedim(1, -1)
            for i, (images, own) in enumerate(zip(x, filters, strict=True))
        ]
        return torch.stack(found)


class Arrangements(Operation):
    """Brings images together, or apart again, and their gradients the other way.

    Evaluation computes on images that lie apart.
    """

    def __init__(self, node: ArrangeNode, block: Block) -> None:
        del block
        self.together = node.together

    def forward(self, x: Tensor) -> Tensor:
        """The same values in the other order."""
        return self._arranged(x, together_wanted=self.together)

    def backward(self, gradient: Tensor) -> Tensor:
        """The way back."""
        return self._arranged(gradient, together_wanted=not self.together)

    def _arranged(self, x: Tensor, *, together_wanted: bool) -> Tensor:
        return apart(together(x), len(x)) if together_wanted else x.contiguous()

    def evaluate(self, x: Tensor, conditions: Conditions) -> Tensor:
        """Nothing."""
        del conditions
        return x
