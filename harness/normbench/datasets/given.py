"""Arrays that a user gives, in whatever layout they have, as a data set that is checked.

They keep their numbers: uint8 pictures stay bytes, which count as 0 to 1, and all else becomes
float32 as it is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from normbench.datasets.base import Arrays
from normbench.datasets.labels import Learned, learned
from normbench.datasets.named import WHOLE, Pairs
from normbench.datasets.sound import check_arrays
from normbench.errors import UsageError

#: What the numbers in :attr:`Arrays.given` say.
FREE, VALIDATION, TEST = 0, 1, 2
_NUMBER = {WHOLE: FREE, "train": FREE, "validation": VALIDATION, "test": TEST}

#: The layouts: how many dimensions they have, and in which order ours has them. N are items, C
#: channels, H and W height and width, F features and L steps.
LAYOUTS: dict[str, tuple[int, ...]] = {
    "NF": (0, 1),
    "NCHW": (0, 1, 2, 3),
    "NHWC": (0, 3, 1, 2),
    "NHW": (0, 1, 2),
    "NCL": (0, 1, 2),
    "NLC": (0, 2, 1),
}
#: The numbers of channels that pictures have, by which the channels are found among the dimensions.
_CHANNELS = (1, 2, 3, 4)


def data_set(pairs: Pairs, params: Mapping[str, Any], source: str) -> Arrays:
    """The data set of some inputs and labels.

    ``params`` has ``layout`` (a key of :data:`LAYOUTS`, or ``auto``), ``task`` and ``tolerance``.
    Its key, and so how it is divided, rests on the labels and on which part they are given for.
    Raises :class:`UsageError` for what training would misread.
    """
    layout = str(params["layout"])
    pictures = [_ours(x, layout, source) for x, _ in pairs.values()]
    if len({one.shape[1:] for one in pictures}) > 1:
        shapes = ", ".join(f"{part} {x.shape}" for part, (x, _) in pairs.items())
        raise UsageError(f"inputs of all parts have one shape; received {shapes} in {source}")
    for part, (x, y) in pairs.items():
        if len(x) != len(y):
            raise UsageError(
                f"each input has a label; {source} has {len(x):,} inputs and {len(y):,} labels"
                f"{' of its part ' + part if part else ''}"
            )
    labels = learned([y for _, y in pairs.values()], str(params["task"]), source)
    given = np.concatenate([np.full(len(y), _NUMBER[p], np.int8) for p, (_, y) in pairs.items()])
    arrays = Arrays(
        _key(labels, given), _joined(pictures), labels.values, labels.classes, task=labels.task,
        tolerance=float(params["tolerance"]) if labels.task == "regression" else 0.0,
        standardized=labels.task == "regression",
        given=given if WHOLE not in pairs else None,
    )  # fmt: skip
    try:
        check_arrays(arrays)
    except UsageError as error:
        raise UsageError(f"{source}: {error}") from None
    return arrays


def _key(labels: Learned, given: NDArray[np.int8]) -> str:
    content = hashlib.sha256(labels.values.tobytes() + given.tobytes()).hexdigest()[:12]
    return f"arrays/1/{len(given)}/{content}"


def _joined(arrays: list[NDArray[Any]]) -> NDArray[Any]:
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)


def _ours(x: NDArray[Any], layout: str, source: str) -> NDArray[Any]:
    """Inputs in our order of dimensions and one of our types."""
    if x.dtype.kind not in "biuf":
        raise UsageError(
            f"inputs are numbers; {source} has {_kind(x.dtype)}; likely fix: store an array of "
            "uint8 (pictures) or float32"
        )
    if layout == "auto":
        layout = _evident(x.shape, source)
    order = LAYOUTS[layout]
    if x.ndim != len(order):
        raise UsageError(
            f"the layout {layout} has {len(order)} dimensions; {source} has inputs of shape "
            f"{x.shape}; likely fix: name their layout, one of {', '.join(LAYOUTS)}"
        )
    if not all(x.shape):
        raise UsageError(f"inputs have no dimension of 0; {source} has the shape {x.shape}")
    if layout == "NF":
        x = x[:, :, None, None]
    elif layout == "NHW":
        x = x[:, None]
    else:
        x = x.transpose(order)
    if x.dtype == np.uint8 and layout in ("NCHW", "NHWC", "NHW"):
        return np.ascontiguousarray(x)
    with np.errstate(over="ignore"):  # what is too large becomes infinite, which is refused
        return np.ascontiguousarray(x, dtype=np.float32)


def _evident(shape: tuple[int, ...], source: str) -> str:
    """The layout that a shape can only have."""
    if len(shape) == 2:
        return "NF"
    if len(shape) == 4 and (shape[1] in _CHANNELS) != (shape[3] in _CHANNELS):
        return "NCHW" if shape[1] in _CHANNELS else "NHWC"
    fitting = ", ".join(name for name, order in LAYOUTS.items() if len(order) == len(shape))
    if not fitting:
        raise UsageError(
            f"inputs have 2 dimensions (items, features), 3 or 4; {source} has the shape {shape}"
        )
    raise UsageError(
        f"the layout of inputs of shape {shape} in {source} is not evident; likely fix: name it by "
        f"layout, one of {fitting} (N items, C channels, H height, W width, L steps)"
    )


def _kind(dtype: np.dtype[Any]) -> str:
    return "Python objects" if dtype.hasobject else f"the type {dtype}"
