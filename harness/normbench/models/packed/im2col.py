"""Convolutions as products of matrices: the windows of padded images are the rows of one (im2col).

The rows of all images together take k² times the images' memory, so they are made piece by piece,
each small enough to stay in a cache until the product has read it. Those that are few enough are
made at once, and stay for the backward pass.
"""

from __future__ import annotations

from dataclasses import replace
from math import prod

import torch
from torch import Tensor

from normbench.models.packed.block import Block, Conditions, Workspace, put_product
from normbench.models.packed.col2im import Col2im
from normbench.models.packed.graph import ConvNode
from normbench.models.packed.pieces import Piece, pieces
from normbench.models.packed.weights import Weighted, product

#: Rows of at most so many values are short.
SHORT = 64


def windows(padded: Tensor, kernel: int, stride: int) -> Tensor:
    """A view (members, N, H', W', k, k, C) of padded images (members, N, H, W, C)."""
    found = padded.unfold(2, kernel, stride).unfold(3, kernel, stride)
    return found.permute(0, 1, 2, 3, 5, 6, 4)


class Columns:
    """The windows of a layer's padded images, and the memory for their rows.

    A window of a single channel is a few values here and there. There the rows of pixels are copied
    as they lie, and the matrix is seen transposed: the copy takes a quarter of the time.
    """

    def __init__(self, node: ConvNode, members: int, images: int, work: Workspace) -> None:
        height, width, channels = node.before
        padding = node.padding
        around = (height + 2 * padding, width + 2 * padding, channels)
        whole = work.take(f"{node.name} padded", members, images, *around)
        #: Where the images themselves lie, with zeros around them: (members, N, H, W, C).
        self.inner = whole[:, :, padding : padding + height, padding : padding + width]
        self.windows = windows(whole, node.kernel, node.stride)
        self.transposed = channels == 1
        per_image = prod(self.windows.shape[2:])
        self.pieces = pieces(members, images, per_image * whole.element_size())
        some, batch = self.pieces[0]
        size = (some.stop - some.start) * (batch.stop - batch.start) * per_image
        self.memory = work.take(f"{node.name} rows", size)

    def rows(self, piece: Piece, *, fill: bool = True) -> Tensor:
        """The rows of a piece: (members, images·positions, k²·C); filled with its windows."""
        part = self.windows[piece]
        if self.transposed:
            part = part.permute(0, 4, 5, 6, 1, 2, 3)
        rows = self.memory[: part.numel()].view(part.shape)
        if fill:
            rows.copy_(part)
        found = rows.flatten(1, 3).flatten(2)
        return found.transpose(1, 2) if self.transposed else found


class Im2colConvolutions(Weighted):
    """A 2-d convolution of each member: (members, N, H, W, C) to (members, N, H', W', outputs).

    The input's gradient is that of its rows, added up: see :mod:`.col2im`.
    """

    def __init__(self, node: ConvNode, block: Block) -> None:
        super().__init__(node, block)
        self.conv = node
        members, batch, work = block.size, block.batch, block.work
        self.y = work.take(f"{node.name} output", members, batch, *node.after)
        self.columns = Columns(node, members, batch, work)
        if self.passes_back:
            back = work.take(f"{node.name} back", members, batch, *node.before)
            self.col2im = Col2im(node, back, self.weight, work)

    def forward(self, x: Tensor) -> Tensor:
        """The output; keeps the input, padded."""
        self.columns.inner.copy_(x)
        self.prepare_weight()
        return self._rows_product(self.columns, self.weight, None, self.y)

    def _rows_product(
        self, columns: Columns, weight: Tensor, bias: Tensor | None, y: Tensor
    ) -> Tensor:
        """The output ``y`` as products of rows and weights; rows of one member are all's."""
        shared = columns.windows.shape[0] < y.shape[0]
        for piece in columns.pieces:
            rows = columns.rows(piece)
            members = slice(None) if shared else piece[0]
            part = y[members, piece[1]].flatten(1, 3)
            if shared:
                rows = rows.expand(part.shape[0], -1, -1)
            weights = weight[members]
            if bias is None and self.fan_in <= SHORT:
                # short rows are multiplied faster by weights in the order in which they are read
                torch.bmm(rows, weights.transpose(1, 2).contiguous(), out=part)
            else:
                product(rows, weights, None if bias is None else bias[members], part)
        return y

    def backward(self, gradient: Tensor) -> Tensor:
        """The input's gradient, unless nothing before has parameters."""
        back = self.col2im.into(gradient) if self.passes_back else gradient
        self._weight_gradient(gradient)
        self.finish_weight()
        return back

    def _weight_gradient(self, gradient: Tensor) -> None:
        """gᵀ times the rows: (outputs, positions)·(positions, fan-in), summed over the pieces."""
        out, columns = self.weight_gradient, self.columns
        kept = len(columns.pieces) == 1
        for piece in columns.pieces:
            rows = columns.rows(piece, fill=not kept)
            members, images = piece
            part = gradient[piece].flatten(1, 3).transpose(1, 2)
            if images.start == 0:
                put_product(out[members], part, rows)
            else:
                out[members.start].addmm_(part[0], rows[0])

    def computed(
        self, x: Tensor, weight: Tensor, bias: Tensor | None, conditions: Conditions
    ) -> Tensor:
        """See :class:`Weighted`; windows of inputs that all members share are made once."""
        images = x[:1] if x.stride(0) == 0 else x
        members, count = images.shape[:2]
        node = replace(self.conv, name=f"{self.conv.name} {members}x{count}")
        columns = Columns(node, members, count, conditions.work)
        columns.inner.copy_(images)
        y = x.new_empty(*x.shape[:2], *node.after)
        return self._rows_product(columns, weight, bias, y)
