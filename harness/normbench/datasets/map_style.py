"""Map-style data sets, such as torch's: their items, one after the other, as arrays."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from normbench.datasets.named import WHOLE, pairs_of
from normbench.errors import UsageError


def is_map_style(given: Any) -> bool:
    """Whether something is a map-style data set, and no array."""
    plain = isinstance(given, str | bytes | tuple | list) or hasattr(given, "__array__")
    return not plain and hasattr(given, "__getitem__") and hasattr(given, "__len__")


def items_of(given: Any, text: str) -> tuple[NDArray[Any], NDArray[Any]]:
    """All items of a map-style data set, one on the other."""
    inputs, labels = [], []
    for number in range(len(given)):
        item = given[number]
        if isinstance(item, Mapping):
            one = pairs_of({str(k): array_of(v, text) for k, v in item.items()}, f"item {number}")
            item = one.get(WHOLE, ())
        if not isinstance(item, tuple | list) or len(item) != 2:
            shown = f"{len(item)} values" if isinstance(item, tuple | list) else type(item).__name__
            raise UsageError(
                f"an item of a Dataset is (input, label); item {number} of {text} is {shown}"
            )
        inputs.append(array_of(item[0], text))
        labels.append(array_of(item[1], text))
    shapes = {one.shape for one in inputs}
    if len(shapes) != 1:
        found = ", ".join(map(str, sorted(shapes)[:3])) or "no item"
        raise UsageError(
            f"the inputs of a data set have one shape; {text} gave {found}; likely fix: resize "
            "and crop them in the Dataset"
        )
    return np.stack(inputs), np.stack(labels)


def array_of(value: Any, text: str) -> NDArray[Any]:
    """A value as an array: an array, a tensor, a picture of Pillow, a list or a number."""
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(value, torch.Tensor):
        value = value.detach().cpu()
        value = value.float() if value.dtype == torch.bfloat16 else value
    try:
        return np.asarray(value)
    except (ValueError, TypeError) as error:
        raise UsageError(
            f"{text} gave {type(value).__name__}, which is no array of numbers ({error})"
        ) from error
