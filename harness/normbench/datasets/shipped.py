"""Tables that scikit-learn ships, read from its folder."""

from __future__ import annotations

import gzip
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


def shipped_table(name: str, delimiter: str | None = None) -> NDArray[np.float64] | None:
    """The numbers of a compressed file of scikit-learn's data sets; None where it has no such file.

    It is read from the installed package: importing the package takes seconds, longer than
    training on the digits does.
    """
    found = find_spec("sklearn")
    for place in found.submodule_search_locations or [] if found is not None else []:
        path = Path(place) / "datasets" / "data" / name
        if path.is_file():
            with gzip.open(path, "rt", encoding="ascii") as file:
                return np.loadtxt(file, delimiter=delimiter)
    return None
