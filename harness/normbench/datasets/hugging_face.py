"""Data sets of the Hugging Face hub, by a commit and without any of their code."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from normbench.datasets.base import Arrays
from normbench.datasets.given import data_set
from normbench.datasets.map_style import items_of
from normbench.datasets.named import WHOLE, Pairs
from normbench.datasets.names import cut, few_of
from normbench.errors import DataMissingError, UsageError

#: The splits of the hub that are a part of ours.
_PARTS = {"train": "train", "validation": "validation", "valid": "validation", "test": "test"}


class HubData:
    """``source`` is ``owner/name@COMMIT``; ``config``, ``layout``, ``task`` and ``tolerance``."""

    def missing(self, params: Mapping[str, Any]) -> str | None:
        """None where it can be asked for; whether the hub has it shows then."""
        if not params["source"]:
            return 'no source is given: dataset = "hf:owner/name@COMMIT"'
        if find_spec("datasets") is None:
            return "it is read by the package datasets: pip install 'normbench[hf]'"
        return None

    def load(self, params: Mapping[str, Any]) -> Arrays:
        """All items of the splits train, validation and test; the hub's own cache keeps them.

        Raises :class:`DataMissingError` where it cannot be got, and :class:`UsageError` for what
        training would misread.
        """
        missing = self.missing(params)
        if missing:
            raise DataMissingError(f"the data set hf is not on this machine: {missing}")
        source = str(params["source"])
        name, _, commit = source.partition("@")
        import datasets

        with contextlib.redirect_stdout(sys.stderr):
            try:
                # from version 4 on, the package runs no code of a data set
                found = datasets.load_dataset(name, params["config"] or None, revision=commit)
            except Exception as error:  # whatever the hub, the network and the files bring
                raise DataMissingError(
                    f"the data set hf:{source} cannot be got: {type(error).__name__}: "
                    f"{cut(error, 300)}"
                ) from error
        return data_set(_pairs(found, source), params, f"hf:{source}")


def _pairs(found: Mapping[str, Any], source: str) -> Pairs:
    parts = {_PARTS[name]: name for name in found if name in _PARTS}
    if "train" not in parts:
        raise UsageError(f"hf:{source} has no split train; it has {few_of(map(str, found))}")
    pairs = {part: items_of(found[name], f"hf:{source}") for part, name in parts.items()}
    return {WHOLE: pairs["train"]} if len(pairs) == 1 else pairs


HUB = HubData()
