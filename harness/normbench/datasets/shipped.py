"""Tables that packages ship, read from their folders."""

from __future__ import annotations

import gzip
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


def shipped_file(package: str, name: str) -> Path | None:
    """A file of a package's data sets, whose installed folder is looked at; None if not there.

    Importing the package takes seconds, longer than training on the digits does.
    """
    found = find_spec(package)
    for place in found.submodule_search_locations or [] if found is not None else []:
        for folder in (Path(place, "datasets", "data"), Path(place, "data", "data")):
            if (folder / name).is_file():
                return folder / name
    return None


def shipped_table(
    name: str, delimiter: str | None = None, package: str = "sklearn"
) -> NDArray[np.float64] | None:
    """The numbers of a compressed file of a package's data sets; None where it has no such file."""
    path = shipped_file(package, name)
    if path is None:
        return None
    with gzip.open(path, "rt", encoding="ascii") as file:
        return np.loadtxt(file, delimiter=delimiter)
