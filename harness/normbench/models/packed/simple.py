"""Operations without parameters: activation, pooling, flattening and dropout."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor

from normbench.models.layers import Dropout, MaxPool
from normbench.models.packed.block import Block, Operation
from normbench.models.packed.evaluator import Conditions
from normbench.models.packed.graph import Node
from normbench.models.packed.normalize import add_per_channel
from normbench.models.packed.together import apart, are_together, together
from normbench.models.packed.weighted import Weighted
from normbench.plan.seeds import stream_key


class Activations(Operation):
    """max(x, 0), in place where the input is needed no more, or into the next layer's padding."""

    target: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Clamp the values; NaN stays NaN."""
        if self.target is not None:
            self.y = torch.clamp_min(x, 0, out=self.target)
        else:
            self.y = x.relu_() if self.in_place else x.relu()
        return self.y

    def backward(self, gradient: Tensor) -> Tensor:
        """The gradient where the output is positive, in place."""
        back = torch.ops.aten.threshold_backward.grad_input(
            gradient, self.y, 0, grad_input=gradient
        )
        return cast(Tensor, back)

    def evaluate(self, x: Tensor, conditions: Conditions) -> Tensor:
        """The same function as in training."""
        del conditions
        return x.relu_() if self.in_place else x.relu()


class Pools(Operation):
    """The maximum over windows of each channel; ties go to the first value, as in torch.

    ``behind`` is the layer with weights that it stands right behind, if any. The maximum commutes
    with adding that layer's bias, and there are fewer maxima than values: they get the bias, and
    its gradient is the sum of theirs. ``adds_for`` may leave a bias in evaluation.
    """

    behind: Weighted | None = None
    adds_for: Weighted | None = None

    def __init__(self, layer: MaxPool) -> None:
        self.kernel, self.stride = [layer.kernel] * 2, [layer.stride] * 2

    def _add_bias(self, y: Tensor) -> Tensor:
        before = self.behind or self.adds_for
        left = None if before is None else before.pop_pending()
        return y if left is None else add_per_channel(y, left)

    def forward(self, x: Tensor) -> Tensor:
        """The maxima; keeps where they were."""
        self.came_together = are_together(x)
        self.x = together(x) if self.came_together else _channels_first(x)
        found = torch.ops.aten.max_pool2d_with_indices(self.x, self.kernel, self.stride)
        y, self.places = found
        return self._add_bias(apart(y, len(x)) if self.came_together else _channels_last(y, x))

    def backward(self, gradient: Tensor) -> Tensor:
        """Each maximum's gradient goes to its place."""
        if self.behind is not None:
            torch.sum(gradient.flatten(1, -2), 1, out=self.behind.bias_gradient)
        given = together(gradient) if self.came_together else _channels_first(gradient)
        # nobody else reads what a layer with weights gives: memory that is near takes the gradient
        near = self.behind is not None and self.x.is_cpu
        back = self.x if near else torch.empty_like(self.x)
        torch.ops.aten.max_pool2d_with_indices_backward.grad_input(
            given, self.x, self.kernel, self.stride, [0, 0], [1, 1], False, self.places,
            grad_input=back,
        )  # fmt: skip
        return apart(back, len(gradient)) if self.came_together else _channels_last(back, gradient)

    def evaluate(self, x: Tensor, conditions: Conditions) -> Tensor:
        """The same function as in training, without looking where the maxima are."""
        del conditions
        rows = _maximum(x, 2, self.kernel[0], self.stride[0])
        return self._add_bias(_maximum(rows, 3, self.kernel[1], self.stride[1]))


def _channels_first(x: Tensor) -> Tensor:
    """Images, or pieces of them (…, H, W, images, channels), as torch's pools take images."""
    return x.flatten(0, 1).flatten(3).permute(0, 3, 1, 2)


def _channels_last(found: Tensor, like: Tensor) -> Tensor:
    """The way back, for other heights and widths."""
    last = found.permute(0, 2, 3, 1)
    return last.view(*like.shape[:2], *last.shape[1:3], *like.shape[4:])


def _maximum(x: Tensor, dim: int, kernel: int, stride: int) -> Tensor:
    """The maxima over windows along one dimension."""
    count = (x.shape[dim] - kernel) // stride + 1
    shifted = [x.narrow(dim, i, x.shape[dim] - i) for i in range(kernel)]
    index = [slice(None)] * dim + [slice(0, stride * (count - 1) + 1, stride)]
    first, *others = (part[tuple(index)] for part in shifted)
    found = first.clone() if not others else torch.maximum(first, others[0])
    for part in others[1:]:
        torch.maximum(found, part, out=found)
    return found


class Flattenings(Operation):
    """Images as vectors: in our order (H, W, C), or in the plain module's (C, H, W).

    Images that come in pieces, (members, pieces, H, W, images, C), go back as such.
    """

    def __init__(self, node: Node) -> None:
        self.node = node
        self.pieces = 0

    def forward(self, x: Tensor) -> Tensor:
        """(members, N, H, W, C) to (members, N, features)."""
        self.pieces = x.shape[1] if x.dim() == 6 else 0
        return self._flat(x)

    def _flat(self, x: Tensor) -> Tensor:
        if x.dim() == 6:
            x = x.movedim(4, 2).flatten(1, 2)
        return (x.movedim(-1, -3) if self.node.reorder else x).flatten(2)

    def backward(self, gradient: Tensor) -> Tensor:
        """The way back."""
        height, width, channels = self.node.before
        if self.node.reorder:
            images = gradient.reshape(*gradient.shape[:2], channels, height, width)
            images = images.movedim(-3, -1).contiguous()
        else:
            images = gradient.reshape(*gradient.shape[:2], *self.node.before)
        if self.pieces:
            shape = (len(images), self.pieces, -1, *images.shape[2:])
            images = images.view(shape).movedim(2, 4).contiguous()
        return images

    def evaluate(self, x: Tensor, conditions: Conditions) -> Tensor:
        """The same function as in training."""
        del conditions
        return self._flat(x)


class Dropouts(Operation):
    """Zeroes values with probability p and scales the others by 1/(1 − p).

    Each member's masks come from a stream of its own, and are those of the plain module's
    :class:`~normbench.models.plain.StreamDropout`, bit for bit: they are drawn in its order.
    """

    def __init__(self, node: Node, layer: Dropout, block: Block) -> None:
        self.node, self.layer = node, layer
        self.generators = [torch.Generator() for _ in range(block.size)]
        shape = node.before if node.image is None else node.image
        self.drawn = (block.size, block.batch, *(shape[-1:] + shape[:-1]))
        self.mask = torch.empty(0)

    def seed(self, member: int, seed: int) -> None:
        """Start the stream of a member of the block, for the run with this seed."""
        self.generators[member].manual_seed(stream_key(seed, "dropout", self.layer.name))

    def forward(self, x: Tensor) -> Tensor:
        """Draw new masks and apply them."""
        draws = torch.empty(self.drawn)
        for row, generator in zip(draws.unbind(), self.generators, strict=True):
            row.uniform_(generator=generator)  # what torch.rand draws
        keep = draws >= self.layer.p
        if len(self.drawn) == 5:
            keep = keep.movedim(2, -1)
        scale = 1 / (1 - self.layer.p)
        self.mask = keep.reshape(x.shape).to(x.device, x.dtype).mul_(scale)
        return x * self.mask

    def backward(self, gradient: Tensor) -> Tensor:
        """The gradient under the same masks."""
        return gradient.mul_(self.mask)

    def evaluate(self, x: Tensor, conditions: Conditions) -> Tensor:
        """Nothing is dropped."""
        del conditions
        return x
