"""Scaling of the inputs: constants from the training split, applied to every split."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from normbench.errors import UsageError

Floats = NDArray[np.float64]
#: Items that are counted at once.
_CHUNK = 256
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


@dataclass(frozen=True)
class Moments:
    """Mean and (biased) variance of each channel in [0, 1], both of shape (channels,), float64."""

    mean: Floats
    variance: Floats


def channel_moments(inputs: NDArray[Any], items: NDArray[np.int64]) -> Moments:
    """The moments of the items at these places of ``inputs`` (items, channels, …).

    Bytes are counted and not summed up one by one: that is exact, and needs no copy of the photos
    as numbers of eight bytes.
    """
    channels = inputs.shape[1]
    if inputs.dtype != np.uint8:
        values = np.moveaxis(inputs[items], 1, 0).reshape(channels, -1).astype(np.float64)
        return Moments(values.mean(axis=1), values.var(axis=1))
    counts = np.zeros((channels, 256), dtype=np.int64)
    for start in range(0, len(items), _CHUNK):
        chunk = inputs[items[start : start + _CHUNK]]
        for channel in range(channels):
            counts[channel] += np.bincount(chunk[:, channel].reshape(-1), minlength=256)
    share = counts / counts.sum(axis=1, keepdims=True)
    levels = np.arange(256) / 255.0
    mean = share @ levels
    return Moments(mean, (share * (levels - mean[:, None]) ** 2).sum(axis=1))


def input_constants(
    train: Moments, kind: str, factors: NDArray[np.float32] | None = None
) -> tuple[NDArray[Any], NDArray[Any]]:
    """The shift and the scale per channel for an input normalization.

    ``train`` must be the moments of the training split alone; ``factors`` turn [0, 1] into the
    units in which the inputs are used (default: 1). ``kind`` is ``raw`` (no change), ``centred``
    (mean per channel), ``global`` (one mean and deviation for all channels), ``per-channel`` (mean
    and deviation of each) or ``imagenet`` (ImageNet's constants, whatever the data are; three
    channels only). Returns float32 arrays of shape (channels,): an input x in those units becomes
    (x − shift) / scale. A channel that is constant in the training split keeps the scale 1.
    """
    channels = len(train.mean)
    unit = np.ones(channels) if factors is None else factors.astype(np.float64)
    mean, variance = train.mean * unit, train.variance * unit**2
    shift, scale = np.zeros(channels), np.ones(channels)
    if kind in ("centred", "per-channel"):
        shift = mean
    if kind == "per-channel":
        scale = np.sqrt(variance)
    if kind == "global":
        # channels have equally many values: the total variance is within plus between channels
        total = variance.mean() + mean.var()
        shift, scale = np.full(channels, mean.mean()), np.full(channels, np.sqrt(total))
    if kind == "imagenet":
        if channels != len(IMAGENET_MEAN):
            raise UsageError(
                f"input_norm imagenet is for three colour channels; the data have {channels}: "
                "use per-channel"
            )
        shift, scale = np.array(IMAGENET_MEAN) * unit, np.array(IMAGENET_DEVIATION) * unit
    if kind not in ("raw", "centred", "global", "per-channel", "imagenet"):
        raise UsageError(f"unknown input normalization {kind!r}")
    scale = np.where(scale > 0, scale, 1.0)
    return shift.astype(np.float32), scale.astype(np.float32)
