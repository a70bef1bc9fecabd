"""Arrays in files of numpy: ``.npz``, a folder of ``.npy``, or a pair of ``.npy``."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from normbench.datasets.base import Arrays
from normbench.datasets.given import data_set
from normbench.datasets.named import INPUTS, LABELS, WHOLE, Pairs, pairs_of
from normbench.datasets.names import cut, printable
from normbench.datasets.place import beside_protocol
from normbench.errors import DataMissingError, UsageError

Read = TypeVar("Read")

_HOW = (
    'set the parameter path: dataset = { name = "arrays", path = "mydata.npz" } with the arrays x '
    "and y, or a folder of x.npy and y.npy, or one .npy file and labels = \"y.npy\""
)  # fmt: skip


class ArrayFiles:
    """The user's own arrays: ``path``, ``labels``, ``layout``, ``task`` and ``tolerance``."""

    def missing(self, params: Mapping[str, Any]) -> str | None:
        """None if the files are there, else how to name them."""
        if not params["path"]:
            return f"no path is given; {_HOW}"
        for text in filter(None, (str(params["path"]), str(params["labels"]))):
            path = beside_protocol(text)
            try:
                path.stat()
            except (FileNotFoundError, NotADirectoryError):
                return (
                    f"there is no {cut(path, 1000)}; a relative path is beside the protocol, or "
                    "in the current folder"
                )
            except OSError as error:
                raise UsageError(f"{printable(path)} cannot be read: {error.strerror}") from error
        return None

    def load(self, params: Mapping[str, Any]) -> Arrays:
        """The arrays; nothing in the files is run, and objects in them are refused.

        Raises :class:`DataMissingError` where there are no files, and :class:`UsageError` for what
        training would misread.
        """
        missing = self.missing(params)
        if missing:
            raise DataMissingError(f"the data set arrays is not on this machine: {missing}")
        path, labels = beside_protocol(str(params["path"])), str(params["labels"])
        source = printable(path.name)
        return data_set(_pairs(path, labels, source), params, source)


def _pairs(path: Path, labels: str, source: str) -> Pairs:
    if path.is_dir():
        found = {p.stem: p for p in sorted(path.glob("*.npy")) if p.is_file()}
        return pairs_of({name: _array(p) for name, p in found.items()}, source)
    if path.suffix.lower() == ".npz":
        return pairs_of(_named(path), source)
    if path.suffix.lower() == ".npy":
        if not labels:
            raise UsageError(
                f"{source} holds inputs alone; likely fix: name the file of their labels, "
                f'labels = "y.npy", or give the folder of both as path'
            )
        return {WHOLE: (_array(path), _array(beside_protocol(labels)))}
    raise UsageError(
        f"arrays are in a .npz file, in a folder of .npy files, or in a .npy file; received "
        f"{source}; likely fix: numpy.savez(\"mydata.npz\", x=inputs, y=labels)"
    )  # fmt: skip


def _named(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of a ``.npz`` file whose names say what they are; others are not read."""

    def read() -> dict[str, NDArray[Any]]:
        with np.load(path, allow_pickle=False) as file:
            words = (*INPUTS, *LABELS)
            wanted = [name for name in file.files if any(w in name.lower() for w in words)]
            return {name: file[name] for name in wanted or file.files}

    return _read(path, read)


def _array(path: Path) -> NDArray[Any]:
    """The array of a ``.npy`` file, mapped into memory."""

    def read() -> NDArray[Any]:
        found = np.load(path, mmap_mode="r", allow_pickle=False)
        if not isinstance(found, np.ndarray):
            raise ValueError("it is no .npy file")
        return found

    return _read(path, read)


def _read(path: Path, read: Callable[[], Read]) -> Read:
    name = printable(path.name)
    try:
        return read()
    except MemoryError:
        raise UsageError(
            f"the arrays in {name} do not fit into memory; likely fix: store fewer items, or "
            "pictures as uint8"
        ) from None
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error, KeyError) as error:
        if "Object arrays" in str(error) or "Python objects" in str(error):
            raise UsageError(
                f"{name} holds Python objects, which are never loaded, since that could run code; "
                "likely fix: store arrays of numbers or texts"
            ) from None
        why = "it is no file of arrays" if "pickle" in str(error) else str(error)
        raise UsageError(
            f"{name} cannot be read ({cut(why)}; pickles never are, since they could run code); "
            "likely fix: write it by numpy.savez or numpy.save"
        ) from error


ARRAYS = ArrayFiles()
