"""Convolutions of all members with fewer multiplications: see :mod:`.winograd`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod

import torch
from torch import Tensor

from normbench.models.layers import Conv
from normbench.models.packed.block import Block, put
from normbench.models.packed.evaluator import Conditions
from normbench.models.packed.graph import Node
from normbench.models.packed.tiled_memory import TiledMemory, Transformed
from normbench.models.packed.tiles import Tiles
from normbench.models.packed.weighted import Weighted

#: The images of a member that are computed at once, at most: what is made of them stays in a cache.
IMAGES = 32
#: The outputs of a tile along one axis. Tiles of 2 were slower from batch size 8 on, and at 2 they
#: were slower than products of matrices.
TILE = 4


def suits(layer: Conv) -> bool:
    """Whether a convolution has this form: one that keeps the images' size, with few taps."""
    return layer.stride == 1 and layer.kernel in (3, 5) and layer.padding == layer.kernel // 2


def images_at_once(batch: int) -> int:
    """The images of a piece: a divisor of the batch size, and all of it if none is large enough."""
    divisor = next(n for n in range(min(batch, IMAGES), 0, -1) if batch % n == 0)
    return divisor if 4 * divisor >= IMAGES else batch


class WinogradConvolutions(Weighted):
    """A 2-d convolution of each member: (members, N, H, W, C) to (members, N, H, W, outputs).

    The backward pass is the exact transpose of the forward pass, so that the gradients are those of
    the output as it was computed.

    With ``tiled_input`` or ``tiled_output`` images come or go as they are computed, (members,
    pieces, H, W, images, channels), for operations between two of these that do not mind.
    """

    def __init__(self, node: Node, layer: Conv, block: Block, *, passes_back: bool) -> None:
        super().__init__(node, block)
        self.passes_back = passes_back
        self.tiled_input = self.tiled_output = False
        self.channels = node.before[-1]
        tiles = self.tiles = Tiles(node.before[:2], TILE, layer.kernel, self.stored)
        members, batch, work, name = block.size, block.batch, block.work, node.name
        images = images_at_once(batch)
        self.memory = TiledMemory(node, tiles, images, work, name)
        pieces = batch // images
        size = tiles.per_image * images * self.channels
        kept = work.take(f"{name} transformed", members, pieces, size)
        self.kept = [[Transformed(one, tiles, images) for one in member] for member in kept]
        points, taps = tiles.filters.shape
        #: A member's taps, and its filters transformed and turned for the way back.
        self.taps = work.take(f"{name} taps", taps, self.channels * self.outputs)
        self.outputs_memory = work.take(f"{name} output", members, batch * prod(node.after))
        if passes_back:
            self.turned = work.take(f"{name} turned", points, self.channels * self.outputs)
            self.back_memory = work.take(f"{name} back", members, batch * prod(node.before))

    def _shaped(self, memory: Tensor, shape: tuple[int, ...], tiled: bool) -> Tensor:
        """A batch's images (members, N, H, W, channels), or in pieces if ``tiled``."""
        if not tiled:
            return memory.view(len(memory), -1, *shape)
        return memory.view(len(memory), -1, *shape[:2], self.memory.images, shape[2])

    def _filters(self, taps: Tensor, out: Tensor) -> Tensor:
        """A member's filters (taps², …) transformed, (points², …), in the memory ``out``."""
        self.taps.view(taps.shape).copy_(taps)
        torch.mm(self.tiles.filters, self.taps, out=out)
        return out.view(-1, *taps.shape[1:])

    def _taps(self, weight: Tensor) -> Tensor:
        """A weight as (members, outputs, taps², channels)."""
        return weight.view(len(weight), self.outputs, len(self.taps), self.channels)

    def forward(self, x: Tensor) -> Tensor:
        """The output; keeps the transformed input."""
        self.prepare_weight()
        self.pending = None
        bias = self.leave(None if self.bias_cancels else self.bias)
        y = self._shaped(self.outputs_memory, self.node.after, self.tiled_output)
        self._convolve(x, self.weight, bias, self.memory, self.kept, y)
        return y

    def _convolve(
        self,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        memory: TiledMemory,
        kept: Sequence[Sequence[Transformed]],
        y: Tensor,
    ) -> None:
        """The output into ``y``, piece by piece; the transformed input into ``kept``."""
        tiles, products = self.tiles, memory.products
        given = iter(_pieces(x, memory.images, self.tiled_input))
        found = iter(_pieces(y, memory.images, self.tiled_output))
        of_members = self._taps(weight).permute(0, 2, 3, 1).unbind(0)
        for member, (pieces, taps) in enumerate(zip(kept, of_members, strict=True)):
            filters = self._filters(taps, memory.filters)
            for piece in pieces:
                images = next(given)
                if not self.tiled_input:
                    memory.arranged_input.copy_(images)
                    images = memory.input_rows
                tiles.transform(images, memory.input_between, piece.whole)
                for row, product in zip(piece.rows, products.rows, strict=True):
                    torch.bmm(row, filters, out=product)
                if bias is not None:
                    products.sums.add_(bias[member])
                out = next(found)
                rows = out if self.tiled_output else memory.output_rows
                tiles.untransform(products.whole, memory.output_between, rows)
                if not self.tiled_output:
                    out.copy_(memory.arranged_output)

    def backward(self, gradient: Tensor) -> Tensor:
        """The input's gradient, unless nothing before has parameters."""
        images, back = self.memory.images, gradient
        given = iter(_pieces(gradient, images, self.tiled_output))
        found: Iterator[Tensor] = iter(())
        if self.passes_back:
            back = self._shaped(self.back_memory, self.node.before, self.tiled_input)
            found = iter(_pieces(back, images, self.tiled_input))
        turned = self._taps(self.weight).transpose(1, 2)
        of_weight = self._taps(self.weight_gradient).transpose(1, 2)
        for member, taps in enumerate(turned.unbind(0)):
            self._member_backward(member, taps, given, found)
            put(of_weight[member], self.taps.view(taps.shape), self.carry)
        self.finish_weight()
        return back

    def _member_backward(
        self, member: int, taps: Tensor, given: Iterator[Tensor], found: Iterator[Tensor]
    ) -> None:
        """One member's gradients, piece by piece; that of its taps stays in their memory."""
        tiles, memory, products = self.tiles, self.memory, self.memory.products
        # the transformed filters are needed no more, and their gradient has as many values
        of_filters = memory.filters.view(-1, self.outputs, self.channels)
        filters = self._filters(taps, self.turned) if self.passes_back else of_filters
        for i, piece in enumerate(self.kept[member]):
            images = next(given)
            if not self.tiled_output:
                memory.arranged_output.copy_(images)
                images = memory.output_rows
            tiles.untransform_back(images, memory.output_between, products.whole)
            if not self.bias_given:
                share = products.sums.sum((0, 1))
                self.bias_gradient[member] = share if i == 0 else self.bias_gradient[member] + share
            for j, (row, product) in enumerate(zip(piece.rows, products.rows, strict=True)):
                if i == j == 0:
                    torch.bmm(product.transpose(1, 2), row, out=of_filters)
                else:
                    of_filters.baddbmm_(product.transpose(1, 2), row)
            if self.passes_back:
                for row, product in zip(piece.rows, products.rows, strict=True):
                    torch.bmm(product, filters, out=row)  # the kept input is needed no more
                out = next(found)
                rows = out if self.tiled_input else memory.input_rows
                tiles.transform_back(piece.whole, memory.input_between, rows)
                if not self.tiled_input:
                    out.copy_(memory.arranged_input)
        torch.mm(tiles.filters.t(), memory.filters, out=self.taps)

    def evaluate(self, x: Tensor, conditions: Conditions) -> Tensor:
        """As in training; a member's samples are one piece."""
        weight, bias = self.affine(conditions)
        self.pending = None
        members, images = len(x), x.shape[4] if self.tiled_input else x.shape[1]
        name, work = f"{self.node.name} {images}", conditions.work
        memory = TiledMemory(self.node, self.tiles, images, work, name)
        inputs = work.take(f"{name} transformed", self.tiles.per_image * images * self.channels)
        kept = [[Transformed(inputs, self.tiles, images)]] * members
        height, width, outputs = self.node.after
        shape = (1, height, width, images) if self.tiled_output else (images, height, width)
        y = x.new_empty(members, *shape, outputs)
        self._convolve(x, weight, self.leave(bias), memory, kept, y)
        return y


def _pieces(batch: Tensor, images: int, tiled: bool) -> Sequence[Tensor]:
    """The pieces of all members: (H, W·images·channels) if ``tiled``, else as images lie in one.

    Images of shape (members, N, H, W, channels) are seen as (H, W, images, channels) each.
    """
    if tiled:
        return batch.flatten(0, 1).flatten(2).unbind(0)
    pieces = (len(batch) * batch.shape[1] // images, images, *batch.shape[2:])
    return batch.reshape(pieces).permute(0, 2, 3, 1, 4).unbind(0)
