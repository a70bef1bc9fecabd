"""Scaling of the inputs: constants from the training split, applied to every split."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from normbench.errors import UsageError

#: Mean and deviation per channel of ImageNet's training photos in [0, 1], as torchvision has them.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_DEVIATION = (0.229, 0.224, 0.225)


def unit_factors(units: str, channels: int) -> NDArray[np.float32]:
    """The factor per channel, shape (channels,), that turns [0, 1] into other units.

    ``unit`` leaves [0, 1], ``byte`` gives [0, 255], and ``uneven`` multiplies the channels by 1,
    10, 100, 1, … so that they are scaled as differently as features of tabular data are. Raises
    :class:`UsageError` for another name.
    """
    if units == "unit":
        return np.ones(channels, dtype=np.float32)
    if units == "byte":
        return np.full(channels, 255.0, dtype=np.float32)
    if units == "uneven":
        return np.asarray([10.0 ** (c % 3) for c in range(channels)], dtype=np.float32)
    raise UsageError(f"unknown input units {units!r}; use unit, byte or uneven")


def input_constants(
    train: NDArray[Any], kind: str, factors: NDArray[np.float32] | None = None
) -> tuple[NDArray[Any], NDArray[Any]]:
    """The shift and the scale per channel for an input normalization.

    ``train`` has shape (items, channels, …) and must be the training split alone, in the units
    in which it is used; ``factors`` are what turned [0, 1] into those units (default: 1).
    ``kind`` is ``raw`` (no change), ``centred`` (mean per channel), ``global`` (one mean and
    deviation for all channels), ``per-channel`` (mean and deviation of each) or ``imagenet``
    (ImageNet's constants, whatever the data are; three channels only). Returns float32 arrays of
    shape (channels,): an input x becomes (x − shift) / scale. A channel that is constant in the
    training split keeps the scale 1.
    """
    channels = train.shape[1]
    values = np.moveaxis(train, 1, 0).reshape(channels, -1).astype(np.float64)
    shift, scale = np.zeros(channels), np.ones(channels)
    if kind in ("centred", "per-channel"):
        shift = values.mean(axis=1)
    if kind == "per-channel":
        scale = values.std(axis=1)
    if kind == "global":
        shift, scale = np.full(channels, values.mean()), np.full(channels, values.std())
    if kind == "imagenet":
        if channels != len(IMAGENET_MEAN):
            raise UsageError(
                f"input_norm imagenet is for three colour channels; the data have {channels}: "
                "use per-channel"
            )
        unit = np.ones(channels) if factors is None else factors.astype(np.float64)
        shift, scale = np.array(IMAGENET_MEAN) * unit, np.array(IMAGENET_DEVIATION) * unit
    if kind not in ("raw", "centred", "global", "per-channel", "imagenet"):
        raise UsageError(f"unknown input normalization {kind!r}")
    scale = np.where(scale > 0, scale, 1.0)
    return shift.astype(np.float32), scale.astype(np.float32)


def as_unit_floats(inputs: NDArray[Any]) -> NDArray[np.float32]:
    """Inputs as float32 in [0, 1], whatever they are stored as."""
    if inputs.dtype == np.uint8:
        return np.asarray(inputs, dtype=np.float32) / np.float32(255.0)
    return np.asarray(inputs, dtype=np.float32)
