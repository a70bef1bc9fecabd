"""The norms' formulas in numpy and float64, written apart from the layers they judge."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def _standardise(x: Array, axes: tuple[int, ...], eps: float) -> Array:
    mean = x.mean(axis=axes, keepdims=True)
    variance = ((x - mean) ** 2).mean(axis=axes, keepdims=True)
    result: Array = (x - mean) / np.sqrt(variance + eps)
    return result


def none(x: Array, params: dict[str, Any]) -> Array:
    """y = x."""
    del params
    return x


def batch(x: Array, params: dict[str, Any]) -> Array:
    """Over the samples and the positions of each channel."""
    return _standardise(x, (0, *range(2, x.ndim)), params["eps"])


def layer(x: Array, params: dict[str, Any]) -> Array:
    """Over all values of each sample."""
    return _standardise(x, tuple(range(1, x.ndim)), params["eps"])


def group(x: Array, params: dict[str, Any]) -> Array:
    """Over the channels of a group and their positions, in each sample."""
    grouped = x.reshape(x.shape[0], params["groups"], -1)
    return _standardise(grouped, (2,), params["eps"]).reshape(x.shape)


def instance(x: Array, params: dict[str, Any]) -> Array:
    """Over the positions of each channel, in each sample."""
    return _standardise(x, tuple(range(2, x.ndim)), params["eps"])


def layer_channels(x: Array, params: dict[str, Any]) -> Array:
    """Over the channels at each position, in each sample."""
    return _standardise(x, (1,), params["eps"])


def rms(x: Array, params: dict[str, Any]) -> Array:
    """By the root of the mean square of each sample's values."""
    square = (x**2).mean(axis=tuple(range(1, x.ndim)), keepdims=True)
    result: Array = x / np.sqrt(square + params["eps"])
    return result


def lrn(x: Array, params: dict[str, Any]) -> Array:
    """By the sum of squares over neighbouring channels, channel by channel."""
    half, result = params["n"] // 2, np.empty_like(x)
    for c in range(x.shape[1]):
        total = (x[:, max(0, c - half) : c + half + 1] ** 2).sum(axis=1)
        result[:, c] = x[:, c] / (params["k"] + params["alpha"] * total) ** params["beta"]
    return result


def dyt(x: Array, params: dict[str, Any]) -> Array:
    """Each value on its own; α is the initial one."""
    result: Array = np.tanh(params["alpha"] * x)
    return result


def derf(x: Array, params: dict[str, Any]) -> Array:
    """Each value on its own; α and the shift are the initial ones."""
    result: Array = np.vectorize(math.erf)(params["alpha"] * x + params["shift"])
    return result


#: Training-mode output at scale 1 and shift 0 and at the start of a run, by the norm's name.
FORMULAS: dict[str, Callable[[Array, dict[str, Any]], Array]] = {
    "none": none,
    "batch": batch,
    "layer": layer,
    "group": group,
    "instance": instance,
    "batch-renorm": batch,
    "batch-frozen": batch,
    "layer-channels": layer_channels,
    "rms": rms,
    "lrn": lrn,
    "dyt": dyt,
    "derf": derf,
}
