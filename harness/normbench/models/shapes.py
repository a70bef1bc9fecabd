"""A sample's shape behind each layer, by arithmetic.

Torch could find the shapes on its meta device, but the first operation there imports symbolic
mathematics for more than a second, in every process.
"""

from __future__ import annotations

from math import prod

from normbench.errors import UsageError
from normbench.models.layers import (
    Attention,
    Conv,
    Dropout,
    Embed,
    Flatten,
    Gelu,
    GlobalMean,
    Layer,
    Linear,
    MaxPool,
    Patches,
    Recurrent,
    ReLU,
    Residual,
    Site,
    TokenMean,
)

Shape = tuple[int, ...]


def shape_after(layer: Layer, shape: Shape, name: str, batch_size: int) -> Shape:
    """The shape of a sample behind ``layer``: (C, H, W), (features, steps) or (features,).

    ``shape`` is that before it; ``name`` and ``batch_size`` are for the error. Raises
    :class:`UsageError` where the layer cannot take such samples.
    """
    found: Shape | None
    match layer:
        case Conv(channels=channels, kernel=kernel, stride=stride, padding=padding):
            sizes = _windows(shape, kernel, stride, padding)
            found = None if sizes is None else (channels, *sizes)
        case MaxPool(kernel=kernel, stride=stride):
            sizes = _windows(shape, kernel, stride, 0)
            found = None if sizes is None else (shape[0], *sizes)
        case Linear(features=features, tokens=True):
            found = (shape[0], features) if len(shape) == 2 else None
        case Linear(features=features):
            found = (features,) if len(shape) == 1 else None
        case GlobalMean():
            found = shape[:1] if len(shape) == 3 else None
        case Recurrent(hidden=hidden):
            found = (hidden,) if len(shape) == 2 else None
        case Flatten():
            found = (prod(shape),)
        case Embed(width=width):
            found = (shape[0], width) if len(shape) == 1 else None
        case Patches(width=width, patch=patch):
            count = shape[-1] if len(shape) == 2 else prod(size // patch for size in shape[1:])
            found = (count, width) if len(shape) in (2, 3) else None
        case TokenMean():
            found = shape[1:] if len(shape) == 2 else None
        case Attention():
            found = shape if len(shape) == 2 else None
        case Site() | ReLU() | Gelu() | Dropout():
            found = shape
        case Residual():
            raise TypeError("a block's shape is that of its layers")
    if found is None:
        raise UsageError(
            f"the layer {name} cannot take a batch of shape {(batch_size, *shape)}: "
            f"{_wanted(layer)}"
        )
    return found


def _windows(shape: Shape, kernel: int, stride: int, padding: int) -> tuple[int, int] | None:
    """Height and width of the windows' grid, or None where no window fits."""
    if len(shape) != 3:
        return None
    height, width = ((size + 2 * padding - kernel) // stride + 1 for size in shape[1:])
    return (height, width) if min(height, width) > 0 else None


def _wanted(layer: Layer) -> str:
    match layer:
        case Conv(kernel=kernel) | MaxPool(kernel=kernel):
            return f"it takes images of at least {kernel}×{kernel} pixels, padding included"
        case Linear(tokens=True) | Attention() | TokenMean():
            return "it takes tokens (tokens, width)"
        case Embed():
            return "it takes sequences of tokens"
        case Patches():
            return "it takes images, or sequences (features, steps)"
        case Linear():
            return "it takes vectors; flatten before it"
        case Recurrent():
            return "it takes sequences (features, steps)"
        case _:
            return "it takes images"
