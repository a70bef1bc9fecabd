"""Operations with a bias alone or no parameters: bias, activation, pooling, flattening, dropout."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor

from normbench.models.packed.block import Block, Conditions, Operation
from normbench.models.packed.graph import BiasNode, DropoutNode, FlattenNode, PoolNode, ReLUNode
from normbench.models.packed.together import apart, together
from normbench.plan.seeds import stream_key


class Biases(Operation):
    """Adds one value per channel, in place."""

    def __init__(self, node: BiasNode, block: Block) -> None:
        shape = (block.size, *([1] * len(node.before)), node.before[-1])
        self.values = block.values[f"{node.name}.bias"]
        self.bias = self.values.view(shape)
        self.gradient = block.gradients[f"{node.name}.bias"]

    def forward(self, x: Tensor) -> Tensor:
        """x + b."""
        return x.add_(self.bias)

    def backward(self, gradient: Tensor) -> Tensor:
        """The same gradient; the bias has its sum."""
        torch.sum(gradient, tuple(range(1, gradient.dim() - 1)), out=self.gradient)
        return gradient

    def evaluate(self, x: Tensor, conditions: Conditions) -> Tensor:
        """The same function as in training."""
        del conditions
        return x.add_(self.bias)


class Activations(Operation):
    """max(x, 0)."""

    def __init__(self, node: ReLUNode, block: Block) -> None:
        del block
        self.in_place = node.in_place

    def forward(self, x: Tensor) -> Tensor:
        """Clamp the values; NaN stays NaN."""
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
    """The maximum over windows of each channel; ties go to the first value, as in torch."""

    def __init__(self, node: PoolNode, block: Block) -> None:
        self.kernel, self.stride = [node.kernel] * 2, [node.stride] * 2
        self.together = node.together
        # on the CPU the input's memory, which a cache may still hold, takes its gradient
        self.reuse = node.reuse and torch.device(block.work.device).type == "cpu"

    def _images(self, x: Tensor) -> Tensor:
        """As torch's pools take images, (images, channels, H, W)."""
        return together(x) if self.together else x.flatten(0, 1).permute(0, 3, 1, 2)

    def _back(self, found: Tensor, members: int) -> Tensor:
        if self.together:
            return apart(found, members)
        last = found.permute(0, 2, 3, 1)
        return last.view(members, -1, *last.shape[1:])

    def forward(self, x: Tensor) -> Tensor:
        """The maxima; keeps where they were."""
        self.x = self._images(x)
        found = torch.ops.aten.max_pool2d_with_indices(self.x, self.kernel, self.stride)
        y, self.places = found
        return self._back(y, len(x))

    def backward(self, gradient: Tensor) -> Tensor:
        """Each maximum's gradient goes to its place."""
        back = self.x if self.reuse else torch.empty_like(self.x)
        torch.ops.aten.max_pool2d_with_indices_backward.grad_input(
            self._images(gradient), self.x, self.kernel, self.stride, [0, 0], [1, 1], False,
            self.places, grad_input=back,
        )  # fmt: skip
        return self._back(back, len(gradient))

    def evaluate(self, x: Tensor, conditions: Conditions) -> Tensor:
        """The same function as in training, without looking where the maxima are."""
        del conditions
        y = torch.max_pool2d(x.flatten(0, 1).permute(0, 3, 1, 2), self.kernel, self.stride)
        last = y.permute(0, 2, 3, 1)
        return last.view(len(x), -1, *last.shape[1:])


class Flattenings(Operation):
    """Images as vectors, in the plain module's order (C, H, W)."""

    def __init__(self, node: FlattenNode, block: Block) -> None:
        del block
        self.node = node

    def forward(self, x: Tensor) -> Tensor:
        """(members, N, H, W, C) to (members, N, features)."""
        return x.movedim(-1, -3).flatten(2)

    def backward(self, gradient: Tensor) -> Tensor:
        """The way back."""
        height, width, channels = self.node.before
        images = gradient.reshape(*gradient.shape[:2], channels, height, width)
        return images.movedim(-3, -1).contiguous()

    def evaluate(self, x: Tensor, conditions: Conditions) -> Tensor:
        """The same function as in training."""
        del conditions
        return self.forward(x)


class Dropouts(Operation):
    """Zeroes values with probability p and scales the others by 1/(1 − p).

    Each member's masks come from a stream of its own, and are those of the plain module's
    :class:`~normbench.models.plain.StreamDropout`, bit for bit: they are drawn in its order.
    """

    def __init__(self, node: DropoutNode, block: Block) -> None:
        self.node = node
        self.generators = [torch.Generator() for _ in range(block.size)]
        self.drawn = (block.size, block.batch, *node.before[-1:], *node.before[:-1])
        self.mask = torch.empty(0)

    def seed(self, member: int, seed: int) -> None:
        """Start the stream of a member of the block, for the run with this seed."""
        self.generators[member].manual_seed(stream_key(seed, "dropout", self.node.name))

    def forward(self, x: Tensor) -> Tensor:
        """Draw new masks and apply them."""
        draws = torch.empty(self.drawn)
        for row, generator in zip(draws.unbind(), self.generators, strict=True):
            row.uniform_(generator=generator)  # what torch.rand draws
        keep = draws >= self.node.p
        if len(self.drawn) == 5:
            keep = keep.movedim(2, -1)
        scale = 1 / (1 - self.node.p)
        self.mask = keep.reshape(x.shape).to(x.device, x.dtype).mul_(scale)
        return x * self.mask

    def backward(self, gradient: Tensor) -> Tensor:
        """The gradient under the same masks."""
        return gradient.mul_(self.mask)

    def evaluate(self, x: Tensor, conditions: Conditions) -> Tensor:
        """Nothing is dropped."""
        del conditions
        return x
