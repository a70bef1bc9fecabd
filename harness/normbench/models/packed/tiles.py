"""Images in the form in which Winograd's convolutions multiply them, and the way back.

An axis of n outputs is cut into tiles of m, each seen at the same points. Images lie as
(H, W·images·channels), transformed ones as (tiles·points, points·tiles, images·channels), tiles
from top to bottom first and those from left to right last: a row of tiles is then a batch of
points² matrices (tiles·images, channels), one for each pair of points.
"""

from __future__ import annotations

from itertools import product

import torch
from torch import Tensor

from normbench.models.packed.winograd import Matrices, matrices

#: The place of the point 1, where a tile's outputs are just added up.
ONE = 1


class Tiles:
    """The transforms for images of ``shape`` (H, W) and filters of ``taps``², padded to keep it.

    ``outputs`` are a tile's along one axis; ``like`` gives dtype and device. Where a transform
    takes ``between``, that is memory for what it has half-way, (tiles·points, W, …). The names of
    the transposed transforms, for gradients, end in ``_back``.
    """

    def __init__(self, shape: tuple[int, ...], outputs: int, taps: int, like: Tensor) -> None:
        self.height, self.width = shape
        self.points = outputs + taps - 1
        self.down, self.across = -(-self.height // outputs), -(-self.width // outputs)
        #: Both axes of what lies half-way, or of what is transformed, without the images.
        self.rows, self.columns = self.down * self.points, self.across * self.points
        made = matrices(outputs, taps)

        def placed(tensor: Tensor) -> Tensor:
            return tensor.to(like.device, like.dtype)

        #: (points², taps²): the filters' transform.
        self.filters = placed(torch.kron(made.filters, made.filters))
        # from top to bottom by tile and then by point, along a row by point and then by tile
        self._in_rows = placed(_inputs(made, self.down, self.height).flatten(0, 1))
        across = _inputs(made, self.across, self.width).transpose(0, 1)
        self._in_columns = placed(across.flatten(0, 1)).expand(self.rows, -1, -1)
        self._out_rows = placed(_outputs(made, self.down, self.height).flatten(1, 2))
        across = _outputs(made, self.across, self.width).transpose(1, 2)
        self._out_columns = placed(across.flatten(1, 2)).expand(self.rows, -1, -1)

    @property
    def per_image(self) -> int:
        """The transformed values of one channel of an image."""
        return self.rows * self.columns

    def transform(self, images: Tensor, between: Tensor, out: Tensor) -> None:
        """Images into ``out``."""
        torch.mm(self._in_rows, images, out=between.flatten(1))
        torch.bmm(self._in_columns, between, out=out)

    def transform_back(self, given: Tensor, between: Tensor, out: Tensor) -> None:
        """The gradient of what was transformed."""
        torch.bmm(self._in_columns.transpose(1, 2), given, out=between)
        torch.mm(self._in_rows.t(), between.flatten(1), out=out)

    def untransform(self, given: Tensor, between: Tensor, out: Tensor) -> None:
        """Products of transformed images and filters into the convolution's outputs."""
        torch.bmm(self._out_columns, given, out=between)
        torch.mm(self._out_rows, between.flatten(1), out=out)

    def untransform_back(self, gradient: Tensor, between: Tensor, out: Tensor) -> None:
        """The gradient of those products."""
        torch.mm(self._out_rows.t(), gradient, out=between.flatten(1))
        torch.bmm(self._out_columns.transpose(1, 2), between, out=out)


def _inputs(made: Matrices, tiles: int, size: int) -> Tensor:
    """Bᵀ of every tile on a whole axis (tiles, points, size): zero where there is padding."""
    points, outputs, taps = len(made.inputs), len(made.outputs), made.filters.shape[1]
    found = made.inputs.new_zeros(tiles, points, size)
    for tile, i in product(range(tiles), range(points)):
        place = tile * outputs + i - taps // 2
        if 0 <= place < size:
            found[tile, :, place] = made.inputs[:, i]
    return found


def _outputs(made: Matrices, tiles: int, size: int) -> Tensor:
    """Aᵀ of every tile on a whole axis (size, tiles, points): none is kept outside."""
    outputs, points = made.outputs.shape
    found = made.outputs.new_zeros(tiles * outputs, tiles, points)
    for tile in range(tiles):
        found[tile * outputs : (tile + 1) * outputs, tile] = made.outputs
    return found[:size]
