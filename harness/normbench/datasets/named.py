"""Arrays with names, as people give them: which are inputs and labels, and of which part."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from normbench.datasets.names import cut, few_of
from normbench.errors import UsageError

#: Names of inputs and of labels, in lower case, as files of other programs have them.
INPUTS = ("x", "data", "images", "inputs", "features", "image", "img", "input")
LABELS = ("y", "labels", "targets", "target", "label")
#: What stands before or behind them for a part, as in ``x_train`` and ``val_images``.
PARTS = {
    "train": ("train", "training"),
    "validation": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing"),
}
#: The part of arrays that name none: they are divided.
WHOLE = ""

#: Inputs and labels of each part: of the whole alone, or of ``train`` and others.
Pairs = Mapping[str, tuple[NDArray[Any], NDArray[Any]]]

_EXPECTED = (
    "expected x and y, or x_train, y_train and x_test, y_test (and x_val, y_val); "
    "images, data, inputs, features and labels, targets mean the same"
)


def _meaning(name: str) -> tuple[str, str] | None:
    """The part and the kind (x or y) that a name says, if it says any."""
    word = name.lower().strip("_")
    for part, spellings in PARTS.items():
        for spelling in spellings:
            for kind in (word.removeprefix(f"{spelling}_"), word.removesuffix(f"_{spelling}")):
                if kind != word and kind in INPUTS + LABELS:
                    return part, "x" if kind in INPUTS else "y"
    if word in INPUTS + LABELS:
        return WHOLE, "x" if word in INPUTS else "y"
    return None


def pairs_of(arrays: Mapping[str, NDArray[Any]], source: str) -> Pairs:
    """The inputs and labels among arrays by their names; what has another name is left alone.

    ``source`` says in errors whose arrays these are. Raises :class:`UsageError` where the names do
    not say it, or say one thing twice.
    """
    found: dict[tuple[str, str], str] = {}
    for name in arrays:
        meaning = _meaning(str(name))
        if meaning is None:
            continue
        if meaning in found:
            raise UsageError(
                f"{source} has {cut(found[meaning])} and {cut(name)}, which mean the same; likely "
                "fix: leave one of them out, or call it otherwise"
            )
        found[meaning] = name
    parts = list(dict.fromkeys(part for part, _ in found))
    whole = parts == [WHOLE]
    incomplete = any((part, kind) not in found for part in parts for kind in "xy")
    if not parts or incomplete or (not whole and (WHOLE in parts or "train" not in parts)):
        raise UsageError(
            f"the names of the arrays in {source} do not say which are inputs and labels: it has "
            f"{few_of(map(str, arrays), 12) or 'none'}; {_EXPECTED}"
        )
    return {
        part: (np.asarray(arrays[found[part, "x"]]), np.asarray(arrays[found[part, "y"]]))
        for part in (WHOLE, *PARTS)
        if part in parts
    }
