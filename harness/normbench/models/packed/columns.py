"""Windows of padded images as rows of a matrix, so that a convolution is a matrix product.

The rows of all images together take k² times the images' memory, so they are made piece by piece,
each small enough to stay in a cache until the product has read it. Those that are few enough are
made at once, and stay for the backward pass.
"""

from __future__ import annotations

from math import prod

import torch
from torch import Tensor
from torch.nn import functional

from normbench.models.packed.block import Workspace

#: The bytes of rows that are made at once, and of all rows where they are made at once.
PIECE_BYTES, WHOLE_BYTES = 1 << 20, 1 << 22

Piece = tuple[slice, slice]


def windows(padded: Tensor, kernel: int, stride: int) -> Tensor:
    """A view (members, N, H', W', k, k·C) of padded images (members, N, H, W, C)."""
    members, images, height, width, channels = padded.shape
    step = padded.stride()
    return padded.as_strided(
        (
            members,
            images,
            (height - kernel) // stride + 1,
            (width - kernel) // stride + 1,
            kernel,
            kernel * channels,
        ),
        (step[0], step[1], step[2] * stride, step[3] * stride, step[2], 1),
    )


def pieces(members: int, images: int, image_bytes: int) -> list[Piece]:
    """All images in pieces: whole batches of several members, or a part of one member's batch."""
    if members * images * image_bytes <= WHOLE_BYTES:
        return [(slice(0, members), slice(0, images))]
    fit = max(1, PIECE_BYTES // image_bytes)
    if fit >= images:
        step = fit // images
        return [
            (slice(i, min(i + step, members)), slice(0, images)) for i in range(0, members, step)
        ]
    step = -(-images // -(-images // fit))
    return [
        (slice(i, i + 1), slice(j, min(j + step, images)))
        for i in range(members)
        for j in range(0, images, step)
    ]


class Columns:
    """The windows of images of ``shape`` (H, W, C) for a kernel, and the memory for their rows."""

    def __init__(
        self,
        shape: tuple[int, ...],
        kernel: int,
        stride: int,
        padding: int,
        members: int,
        images: int,
        work: Workspace,
        name: str,
    ) -> None:
        height, width, channels = shape
        self.padded = work.take(
            f"{name} padded",
            members, images, height + 2 * padding, width + 2 * padding, channels,
        )  # fmt: skip
        #: Where the images themselves lie, inside the padding: (members, N, H, W, C).
        self.inner = self.padded[:, :, padding : padding + height, padding : padding + width]
        self.windows = windows(self.padded, kernel, stride)
        per_image = prod(self.windows.shape[2:])
        self.pieces = pieces(members, images, per_image * self.padded.element_size())
        some, batch = self.pieces[0]
        size = (some.stop - some.start) * (batch.stop - batch.start) * per_image
        self.memory = work.take(f"{name} rows", size)

    def rows(self, piece: Piece, *, fill: bool = True) -> Tensor:
        """The rows of a piece: (members, images·positions, k²·C); filled with its windows."""
        part = self.windows[piece]
        rows = self.memory[: part.numel()].view(part.shape)
        if fill:
            rows.copy_(part)
        return rows.view(part.shape[0], -1, part.shape[4] * part.shape[5])


def item_rows(images: Tensor, kernel: int, stride: int, padding: int) -> Tensor:
    """The rows of images (items, H, W, C), all of an item's in one: (items, H'·W'·k²·C)."""
    around = (0, 0, padding, padding, padding, padding)
    made = [
        windows(functional.pad(some, around).unsqueeze(0), kernel, stride)[0].flatten(1)
        for some in torch.split(images, 256)
    ]
    return torch.cat(made)
