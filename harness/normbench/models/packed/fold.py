"""The gradient of a convolution's input as the sum of what its windows' gradients give.

For each place in a window, the products of the output's gradient with the filters' values there are
added where that place lies in the image. That spares the copies of flipped filters, which take as
long for a batch of two as for any other, and rows of whole windows.
"""

from __future__ import annotations

from itertools import product
from math import prod

import torch
from torch import Tensor

from normbench.models.layers import Conv
from normbench.models.packed.block import Workspace
from normbench.models.packed.columns import pieces


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


class Fold:
    """The way back of a convolution from images of ``before`` (H, W, C) to those of ``after``."""

    def __init__(
        self,
        before: tuple[int, ...],
        after: tuple[int, ...],
        layer: Conv,
        members: int,
        images: int,
        work: Workspace,
        name: str,
    ) -> None:
        k = layer.kernel
        per_image = prod(after[:2]) * before[2]
        self.pieces = pieces(members, images, per_image * work.dtype.itemsize)
        some, batch = self.pieces[0]
        size = (some.stop - some.start) * (batch.stop - batch.start) * per_image
        self.memory = work.take(f"{name} gradients of a place", size)
        self.shape = (*after[:2], before[2])
        self.taps = k * k
        #: Of each place in a window: which windows have it inside the image, and there.
        self.places: list[tuple[int, tuple[slice, slice], tuple[slice, slice]]] = []
        #: Whether the first place gives a value to every pixel.
        self.covers = False
        for i, j in product(range(k), repeat=2):
            rows = _overlap(i, layer.stride, layer.padding, before[0], after[0])
            columns = _overlap(j, layer.stride, layer.padding, before[1], after[1])
            if rows is None or columns is None:
                continue
            place = (i * k + j, rows, columns)
            if rows[1] == slice(0, before[0], 1) and columns[1] == slice(0, before[1], 1):
                self.covers = True
                self.places.insert(0, place)
            else:
                self.places.append(place)

    def into(self, out: Tensor, gradient: Tensor, weight: Tensor) -> Tensor:
        """Write the input's gradient to ``out`` (members, N, H, W, C).

        ``gradient`` is the output's, ``weight`` has the shape (members, outputs, k²·C).
        """
        filters = weight.view(*weight.shape[:2], self.taps, -1)
        for piece in self.pieces:
            given, image = gradient[piece], out[piece]
            rows = given.flatten(1, 3)
            found = self.memory[: prod(given.shape[:2]) * prod(self.shape)]
            found = found.view(*given.shape[:2], *self.shape)
            if not self.covers:
                image.zero_()
            for n, (at, (from_rows, to_rows), (from_columns, to_columns)) in enumerate(self.places):
                of_place = filters[piece[0], :, at]
                if n == 0 and self.covers and image.shape == found.shape:
                    torch.bmm(rows, of_place, out=image.flatten(1, 3))  # spares a pass
                    continue
                torch.bmm(rows, of_place, out=found.flatten(1, 3))
                part = image[:, :, to_rows, to_columns]
                shifted = found[:, :, from_rows, from_columns]
                if n == 0 and self.covers:
                    part.copy_(shifted)
                else:
                    part.add_(shifted)
        return out
