"""Scaling of the inputs: constants from the training split, applied to every split."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from normbench.errors import UsageError


def input_constants(train: NDArray[Any], kind: str) -> tuple[NDArray[Any], NDArray[Any]]:
    """The shift and the scale per channel for an input normalization.

    ``train`` has shape (items, channels, …) with values in [0, 1] and must be the training
    split alone. ``kind`` is ``raw`` (no change), ``centred`` (mean per channel), ``global``
    (one mean and deviation for all channels) or ``per-channel`` (mean and deviation of each).
    Returns float32 arrays of shape (channels,): an input x becomes (x − shift) / scale. A
    channel that is constant in the training split keeps the scale 1.
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
    if kind not in ("raw", "centred", "global", "per-channel"):
        raise UsageError(f"unknown input normalization {kind!r}")
    scale = np.where(scale > 0, scale, 1.0)
    return shift.astype(np.float32), scale.astype(np.float32)


def as_unit_floats(inputs: NDArray[Any]) -> NDArray[np.float32]:
    """Inputs as float32 in [0, 1], whatever they are stored as."""
    if inputs.dtype == np.uint8:
        return np.asarray(inputs, dtype=np.float32) / np.float32(255.0)
    return np.asarray(inputs, dtype=np.float32)
