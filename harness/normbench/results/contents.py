"""Which data a results folder was computed from: so that changed photos are never mixed in."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path

from normbench.errors import ResultsError
from normbench.results.files import read_object, write_object

NAME = "data.json"
#: What moving the file away means.
_WITHOUT = "then the data of the next run count as those of the earlier ones, unchecked"


def read_contents(folder: Path) -> dict[str, str]:
    """The stored keys by data set (name and parameters as JSON); empty where none were stored."""
    known = read_object(folder / NAME, _WITHOUT) or {}
    found = {}
    for name, key in known.items():
        with contextlib.suppress(ValueError):
            if isinstance(json.loads(name), dict) and isinstance(key, str):
                found[name] = key
    return found


def check_contents(folder: Path, contents: Mapping[str, str]) -> None:
    """Refuse data that differ from those of earlier runs.

    ``contents`` gives, for each data set of the protocol (with its parameters), the key of its
    content. Raises :class:`ResultsError` where a stored key is another.
    """
    known = read_object(folder / NAME, _WITHOUT) or {}
    for name, key in contents.items():
        if isinstance(known.get(name), str) and known[name] != key:
            label = json.loads(name)["name"]
            raise ResultsError(
                f"the data set {label} is not the one that the results in {folder} were computed "
                "from (files were added, removed or changed since); results of both must not be "
                "mixed: bring the earlier files back, or use a new folder with --results"
            )


def record_contents(folder: Path, contents: Mapping[str, str]) -> None:
    """Store the keys of the data that runs are about to use."""
    known = read_object(folder / NAME, _WITHOUT) or {}
    if {**known, **contents} != known:
        write_object(folder / NAME, {**known, **contents})
