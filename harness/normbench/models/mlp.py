"""A fully connected net."""

from __future__ import annotations

from normbench.models.layers import Flatten, Layer, Linear, activated


def layers(shape: tuple[int, ...], classes: int, *, width: int, depth: int) -> list[Layer]:
    """``depth`` hidden layers of ``width`` units with ReLU, then a linear classifier.

    ``shape`` is that of an input, flattened first. The sites are fc1, fc2, ….
    """
    del shape
    body: list[Layer] = [Flatten()]
    for i in range(1, depth + 1):
        body += activated(Linear(f"fc{i}", width))
    return [*body, Linear("classifier", classes)]
