"""A small convolutional net for 8×8 images."""

from __future__ import annotations

from normbench.models.layers import Conv, Flatten, Layer, Linear, MaxPool, activated


def layers(shape: tuple[int, ...], classes: int, *, width: int) -> list[Layer]:
    """Two 3×3 convolutions (``width`` and twice as many channels), each pooled, and a classifier.

    ``shape`` is (channels, height, width) of an input, at least 4×4. The sites are conv1 and
    conv2.
    """
    del shape
    return [
        *activated(Conv("conv1", width, kernel=3, padding=1)),
        MaxPool(2, 2),
        *activated(Conv("conv2", 2 * width, kernel=3, padding=1)),
        MaxPool(2, 2),
        Flatten(),
        Linear("classifier", classes),
    ]
