"""Convolutions of all members, each pass in the formulation that suits its shape.

``im`` lays the windows out as the rows of a matrix and multiplies all members' matrices at once;
``mk`` calls torch's own convolution member by member, which on the CPU is oneDNN's. ``fold`` is a
way of the input's gradient: see :mod:`.fold`. What ``wg4`` and ``gr`` stand for is in
:mod:`.winograd_convolution` and :mod:`.grouped_convolution`.
"""

from __future__ import annotations

from itertools import product
from typing import Literal

import torch
from torch import Tensor

from normbench.models.layers import Conv
from normbench.models.packed.block import Block, Workspace, put, put_product, stacked
from normbench.models.packed.columns import Columns
from normbench.models.packed.evaluator import Conditions
from normbench.models.packed.fold import Fold
from normbench.models.packed.graph import Node
from normbench.models.packed.weighted import Weighted

#: Rows of at most so many values are short.
SHORT = 64
#: A member's filters of at least so many values are large.
LARGE = 1 << 14

Way = Literal["im", "mk", "fold", "gr", "wg4"]
#: The formulation of the forward pass, the input's gradient and the weight's gradient.
Ways = tuple[Way, Way, Way]
#: Winograd's convolutions, and those of all members as one, are one formulation of all passes.
TILED: Way = "wg4"
GROUPED: Way = "gr"
#: Those of all members as one, but the weight's gradient member by member.
PARTLY_GROUPED: Ways = (GROUPED, GROUPED, "mk")


def channels_first(x: Tensor) -> Tensor:
    """(…, H, W, C) as (…, C, H, W), the same memory."""
    return x.movedim(-1, -3)


def possible(ways: Ways, layer: Conv) -> Ways:
    """The ways as far as the layer has them.

    The input's gradient is a convolution of the output's gradient, as ``im`` has it, only at stride
    1, and where the padding is smaller than the kernel.
    """
    if ways[0] == TILED:
        ways = ("mk", "mk", "mk")
    im = layer.stride == 1 and layer.padding < layer.kernel
    return (ways[0], ways[1] if im or ways[1] == "fold" else "mk", ways[2])


class Convolutions(Weighted):
    """A 2-d convolution of each member: (members, N, H, W, C) to (members, N, H', W', outputs).

    ``passes_back`` says whether anything before it has parameters. The input may also come as the
    rows of its windows, (members, N, H'·W'·k²·C), made once for the whole data set.
    """

    def __init__(
        self, node: Node, layer: Conv, ways: Ways, block: Block, *, passes_back: bool
    ) -> None:
        super().__init__(node, block)
        self.layer, self.passes_back, self.ways = layer, passes_back, possible(ways, layer)
        members, batch, work, k = block.size, block.batch, block.work, layer.kernel
        self.square = (k, k, node.before[-1])
        # (members, outputs, C, k, k), each member's in the channels-last layout
        outputs = (members, self.outputs)
        self.filters = channels_first(self.weight.view(*outputs, *self.square))
        self.filters_gradient = channels_first(self.weight_gradient.view(*outputs, *self.square))
        self.y = work.take(f"{node.name} output", members, batch, *node.after)
        self.columns: Columns | None = None
        self.x = self.y
        self.fed = False
        if "im" in (self.ways[0], self.ways[2]):
            self.columns = self._columns(members, batch, work)
        if self.passes_back:
            self.back = work.take(f"{node.name} back", members, batch, *node.before)
            if self.ways[1] == "fold":
                self.fold = Fold(layer, node.after, self.back, self.weight, work, node.name)
            if self.ways[1] == "im":
                self.back_columns = Columns(
                    node.after, k, 1, k - 1 - layer.padding,
                    members, batch, work, f"{node.name} gradient",
                )  # fmt: skip
                shape = (members, k, k, self.outputs, node.before[-1])
                self.flipped = work.take(f"{node.name} flipped", *shape)

    def _columns(self, members: int, images: int, work: Workspace, more: str = "") -> Columns:
        layer, name = self.layer, f"{self.node.name}{more}"
        return Columns(
            self.node.before, layer.kernel, layer.stride, layer.padding, members, images, work, name
        )

    @property
    def padded_input(self) -> Tensor | None:
        """Where the layer before may write its output, if it is read from nowhere else."""
        if self.columns is None or self.ways[0] != "im" or self.ways[2] != "im":
            return None
        return self.columns.inner

    def forward(self, x: Tensor) -> Tensor:
        """The output; an input that lies in :attr:`padded_input` (``fed``) is not copied."""
        self.prepare_weight()
        self.x = x
        self.pending = None
        bias = None if self.bias_cancels else self.bias
        if x.dim() == 3:
            rows, y = x.view(x.shape[0], -1, self.fan_in), self.y.flatten(1, 3)
            _product(rows, self.weight, self.leave(bias), y)
            return self.y
        if self.columns is not None and not self.fed:
            self.columns.inner.copy_(x)
        if self.columns is not None and self.ways[0] == "im":
            self._rows_product(self.columns, self.weight, self.leave(bias), self.y)
            return self.y
        return convolved(self.layer, x, self.filters, bias, self.y)

    def _rows_product(
        self, columns: Columns, weight: Tensor, bias: Tensor | None, y: Tensor
    ) -> None:
        """The output ``y`` as products of rows and weights; rows of one member are all's."""
        shared = columns.windows.shape[0] < y.shape[0]
        for piece in columns.pieces:
            rows = columns.rows(piece)
            members = slice(None) if shared else piece[0]
            part = y[members, piece[1]].flatten(1, 3)
            if shared:
                rows = rows.expand(part.shape[0], -1, -1)
            _product(rows, weight[members], None if bias is None else bias[members], part)

    def backward(self, gradient: Tensor) -> Tensor:
        """The input's gradient, unless nothing before has parameters."""
        flat = gradient.flatten(1, 3)
        self.bias_backward(flat)
        found = self._native_gradients(gradient)
        back = gradient
        if self.passes_back and self.ways[1] == "fold":
            back = self.fold.into(gradient)
        elif self.passes_back:
            back = stacked(found, self.back) if found else self._input_gradient(gradient)
        by_pieces = False
        if self.x.dim() == 3:
            rows = self.x.view(self.x.shape[0], -1, self.fan_in)
            put_product(self.weight_gradient, flat.transpose(1, 2), rows, self.carry)
        elif self.columns is not None and self.ways[2] == "im":
            self._weight_gradient(gradient, self.columns)
            by_pieces = True
        self.finish_weight(moved=by_pieces)
        return back

    def _native_gradients(self, gradient: Tensor) -> list[Tensor]:
        """The weight's gradient and the returned input's, as far as torch's convolution does it."""
        layer = self.layer
        wants_input = self.passes_back and self.ways[1] == "mk"
        wants_weight = self.ways[2] == "mk" and self.x.dim() == 5
        found: list[Tensor] = []
        if not (wants_input or wants_weight):
            return found
        # the input's gradient needs the input's shape alone, which any memory of that shape has
        inputs = self.x if wants_weight else self.back
        for i in range(gradient.shape[0]):
            back, weight = gradients_of(
                layer, channels_first(gradient[i]), channels_first(inputs[i]), self.filters[i],
                wanted=(wants_input, wants_weight),
            )  # fmt: skip
            if wants_weight:
                put(self.filters_gradient[i], weight, self.carry)
            if wants_input:
                found.append(back.permute(0, 2, 3, 1))
        return found

    def _weight_gradient(self, gradient: Tensor, columns: Columns) -> None:
        """gᵀ times the rows: (outputs, positions)·(positions, fan-in), summed over the pieces.

        A piece's weights move with its last images.
        """
        out = self.weight_gradient
        kept = self.ways[0] == "im" and len(columns.pieces) == 1
        for piece in columns.pieces:
            rows = columns.rows(piece, fill=not kept)
            members, images = piece
            part = gradient[piece].flatten(1, 3).transpose(1, 2)
            if images.start == 0:
                put_product(out[members], part, rows, self.carry)
            else:
                out[members.start].addmm_(part[0], rows[0])
            if images.stop == gradient.shape[1]:
                self.move(members)

    def _input_gradient(self, gradient: Tensor) -> Tensor:
        """The output's gradient convolved with the flipped filters."""
        k, channels, members = self.layer.kernel, self.node.before[-1], gradient.shape[0]
        columns = self.back_columns
        columns.inner.copy_(gradient)
        by_output = self.weight.view(members, self.outputs, k, k, channels)
        if self.fan_in * self.outputs < LARGE:
            self.flipped.copy_(by_output.flip(2, 3).permute(0, 2, 3, 1, 4))
        else:  # place by place: a flip in one call goes value by value, and takes thrice as long
            for i, j in product(range(k), repeat=2):
                self.flipped[:, k - 1 - i, k - 1 - j].copy_(by_output[:, :, i, j])
        flipped = self.flipped.view(members, -1, channels)
        for piece in columns.pieces:
            rows = columns.rows(piece)
            torch.bmm(rows, flipped[piece[0]], out=self.back[piece].flatten(1, 3))
        return self.back

    def evaluate(self, x: Tensor, conditions: Conditions) -> Tensor:
        """As in training; windows of inputs that all members share are made once."""
        weight, bias = self.affine(conditions)
        self.pending = None
        if self.ways[0] == "mk":
            filters = channels_first(weight.view(*weight.shape[:2], *self.square))
            return convolved(self.layer, x, filters, bias, None)
        images = x[:1] if x.stride(0) == 0 else x
        members, count = images.shape[:2]
        columns = self._columns(members, count, conditions.work, f" {members}x{count}")
        columns.inner.copy_(images)
        y = x.new_empty(*x.shape[:2], *self.node.after)
        self._rows_product(columns, weight, self.leave(bias), y)
        return y


def convolved(
    layer: Conv, x: Tensor, filters: Tensor, bias: Tensor | None, out: Tensor | None
) -> Tensor:
    """The output for images (members, N, H, W, C) by torch's convolution, member by member.

    ``filters`` are (members, outputs, C, k, k), ``bias`` is (members, 1, outputs).
    """
    found = [
        _convolved(layer, x[i], filters[i], None if bias is None else bias[i, 0])
        for i in range(x.shape[0])
    ]
    return stacked(found, out)


def gradients_of(
    layer: Conv,
    gradient: Tensor,
    images: Tensor,
    filters: Tensor,
    *,
    wanted: tuple[bool, bool],
    groups: int = 1,
) -> tuple[Tensor, Tensor]:
    """The gradients of the images and of the filters by torch's convolution, those ``wanted``."""
    back, weight, _ = torch.ops.aten.convolution_backward(
        gradient, images, filters, [len(filters)], [layer.stride] * 2, [layer.padding] * 2,
        [1, 1], False, [0, 0], groups, [*wanted, False],
    )  # fmt: skip
    return back, weight


def _convolved(layer: Conv, images: Tensor, filters: Tensor, bias: Tensor | None) -> Tensor:
    """One member's."""
    found: Tensor = torch.ops.aten.convolution(
        channels_first(images), filters, bias, [layer.stride] * 2,
        [layer.padding] * 2, [1, 1], False, [0, 0], 1,
    )  # fmt: skip
    return found.permute(0, 2, 3, 1)


def _product(rows: Tensor, weight: Tensor, bias: Tensor | None, out: Tensor) -> None:
    """rows·weightᵀ + bias for each member."""
    if bias is None:
        weights = weight.transpose(1, 2)
        # products of short rows are faster with the weights as they are read; a copy costs little
        torch.bmm(rows, weights.contiguous() if rows.shape[2] <= SHORT else weights, out=out)
    else:
        torch.baddbmm(bias, rows, weight.transpose(1, 2), out=out)
