"""The gradient of a convolution's input as the sum of what its windows' gradients give (col2im).

The products of the output's gradient with the filters' values at each place in a window are added
where that place lies in the image. That spares the copies of flipped filters, which take as long
for a batch of two as for any other, and rows of whole windows.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from math import prod

import torch
from torch import Tensor

from normbench.models.packed.block import Workspace
from normbench.models.packed.graph import ConvNode
from normbench.models.packed.pieces import Piece, pieces

#: Where the values of a place come from and go to, along both dimensions.
_Shift = tuple[tuple[slice, slice], tuple[slice, slice]]


def _overlap(
    place: int, stride: int, padding: int, size: int, outputs: int
) -> tuple[slice, slice] | None:
    """Along one dimension: the outputs whose windows have a place inside the image, and where."""
    shift = place - padding
    first = max(0, -(shift // stride))  # the least output y with y·stride + shift ≥ 0
    last = min(outputs - 1, (size - 1 - shift) // stride)
    if last < first:
        return None
    start = first * stride + shift
    return slice(first, last + 1), slice(start, last * stride + shift + 1, stride)


def _places(layer: ConvNode) -> dict[int, _Shift]:
    """The places in a window that lie in some image."""
    before, after = layer.before, layer.after
    found = dict[int, _Shift]()
    for i, j in product(range(layer.kernel), repeat=2):
        rows = _overlap(i, layer.stride, layer.padding, before[0], after[0])
        columns = _overlap(j, layer.stride, layer.padding, before[1], after[1])
        if rows is not None and columns is not None:
            found[i * layer.kernel + j] = (rows[0], columns[0]), (rows[1], columns[1])
    return found


class Col2im:
    """The way back of a convolution, from the output's gradient to ``out`` (members, N, H, W, C).

    ``weight`` is (members, outputs, k²·C). Both tensors are read and written where they lie.
    """

    def __init__(self, node: ConvNode, out: Tensor, weight: Tensor, work: Workspace) -> None:
        members, images, *before = out.shape
        self.out, self.after = out, node.after[:2]
        self.places = _places(node)
        self.filters = weight.view(*weight.shape[:2], node.kernel**2, before[2])
        row = prod(self.after) * before[2]
        found = pieces(members, images, row * work.dtype.itemsize)
        some, batch = found[0]
        size = (some.stop - some.start) * (batch.stop - batch.start) * row
        self.memory = work.take(f"{node.name} gradients of a place", size)
        # views take about as long as small products: they are made once
        self.pieces = [(piece, list(self._products(piece))) for piece in found]

    def _products(self, piece: Piece) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
        """For each place the filters' values, its rows, and what of them goes where."""
        image, filters = self.out[piece], self.filters[piece[0]]
        shape = (*image.shape[:2], *self.after, image.shape[-1])
        found = self.memory[: prod(shape)].view(shape)
        for place, (at, to) in self.places.items():
            yield filters[:, :, place], found.flatten(1, 3), found[:, :, *at], image[:, :, *to]

    def into(self, gradient: Tensor) -> Tensor:
        """Write the input's gradient, from that of the output."""
        self.out.zero_()
        for piece, products in self.pieces:
            given = gradient[piece].flatten(1, 3)
            for filters, rows, share, to in products:
                torch.bmm(given, filters, out=rows)
                to.add_(share)
        return self.out
