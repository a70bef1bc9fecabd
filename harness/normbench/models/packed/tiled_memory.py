"""The memory in which Winograd's convolutions compute, and its views as they read it."""

from __future__ import annotations

from math import prod

from torch import Tensor

from normbench.models.packed.block import Workspace
from normbench.models.packed.graph import Node
from normbench.models.packed.tiles import ONE, Tiles


class Transformed:
    """Transformed images or products in ``memory``: whole, and a batch of matrices for each row.

    ``sums`` are the values at the point 1 of both axes, (tiles, tiles·images, channels): see
    :data:`~normbench.models.packed.tiles.ONE`.
    """

    def __init__(self, memory: Tensor, tiles: Tiles, images: int) -> None:
        by_point = (tiles.down, tiles.points, tiles.points, tiles.across * images)
        self.whole = memory.view(tiles.rows, tiles.columns, -1)
        self.rows = list(memory.view(tiles.down, tiles.points**2, by_point[3], -1).unbind(0))
        self.sums = memory.view(*by_point, -1)[:, ONE, ONE]


class TiledMemory:
    """What ``images`` images of a member are computed in, one piece of a batch after the other.

    ``arranged_input`` and ``arranged_output`` share memory, (H, W, images, channels), and so do
    ``input_between`` and ``output_between``, which is what transforms have half-way.
    """

    def __init__(self, node: Node, tiles: Tiles, images: int, work: Workspace, name: str) -> None:
        (height, width, inputs), outputs = node.before, node.after[-1]
        self.images = images
        most = max(inputs, outputs)
        memory = work.take(f"{name} images", height * width * images * most)
        self.arranged_input = _front(memory, height, width, images, inputs)
        self.arranged_output = _front(memory, height, width, images, outputs)
        self.input_rows = self.arranged_input.flatten(1)
        self.output_rows = self.arranged_output.flatten(1)
        memory = work.take(f"{name} between", tiles.rows * width * images * most)
        self.input_between = _front(memory, tiles.rows, width, images * inputs)
        self.output_between = _front(memory, tiles.rows, width, images * outputs)
        memory = work.take(f"{name} products", tiles.per_image * images * outputs)
        self.products = Transformed(memory, tiles, images)
        #: A member's transformed filters, (points², …).
        self.filters = work.take(f"{name} filters", tiles.points**2, inputs * outputs)


def _front(memory: Tensor, *shape: int) -> Tensor:
    return memory[: prod(shape)].view(shape)
