"""A digest of the arrays of a data set, and the files that it leaves out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from normbench.errors import UsageError

#: Bytes that are hashed at once: an array that is not contiguous is copied in such pieces.
_PIECE = 1 << 24


@dataclass(frozen=True)
class Skipped:
    """Files that a data set leaves out: ``reasons`` by name, of ``files`` that were looked at.

    ``listed_in`` is a file that lists them all.
    """

    reasons: Mapping[str, str]
    files: int
    listed_in: str


def digest_of(
    said: Sequence[Any],
    arrays: Mapping[str, NDArray[Any] | None],
    known: tuple[NDArray[Any], str] | None = None,
) -> str:
    """SHA-256 of what is ``said`` (JSON) and of arrays by name: the same on every machine.

    ``known`` may give one of the arrays and a digest that stands for it.
    """
    whole = hashlib.sha256(json.dumps(said).encode())
    for name, array in arrays.items():
        if array is None:
            continue
        if known is not None and known[0] is array:
            whole.update(f"{name} {known[1]}".encode())
        else:
            _add(whole, name, array)
    return whole.hexdigest()


def _add(whole: Any, name: str, array: NDArray[Any]) -> None:
    array = np.asarray(array)
    if array.dtype.hasobject:
        raise UsageError(
            f"the arrays of a data set must hold numbers; received Python objects in its {name}; "
            "likely fix: give the array a type, such as float32"
        )
    whole.update(f"{name} {array.dtype.str} {array.shape}".encode())
    if array.flags.c_contiguous:
        whole.update(array.reshape(-1).view(np.uint8))
        return
    rows = max(1, _PIECE // max(1, array[:1].nbytes))
    for start in range(0, len(array), rows):
        whole.update(array[start : start + rows].tobytes())
