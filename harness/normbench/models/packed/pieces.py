"""Images in pieces of which what is made stays in a cache until it has been read."""

from __future__ import annotations

#: The bytes of rows that are made at once, and of all rows where they are made at once.
PIECE_BYTES, WHOLE_BYTES = 1 << 20, 1 << 22

Piece = tuple[slice, slice]


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
