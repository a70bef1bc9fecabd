"""Handwritten digits of 8×8 pixels (Alpaydin & Kaynak 1998, UCI), as shipped with scikit-learn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from normbench.datasets.base import Arrays
from normbench.datasets.shipped import shipped_table
from normbench.datasets.split import stratified_subset


def read_digits() -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The images (items, 8, 8) in 0 to 16 and the labels, as scikit-learn's loader gives them.

    Where its file lies elsewhere, the loader is asked.
    """
    rows = shipped_table("digits.csv.gz", ",")
    if rows is not None:
        return rows[:, :-1].reshape(-1, 8, 8), rows[:, -1].astype(np.int64)
    from sklearn.datasets import load_digits

    raw = load_digits()
    return raw.images, raw.target.astype(np.int64)


class Digits:
    """1,797 digits in ten classes, one channel, 17 grey levels scaled to [0, 1]."""

    def missing(self, params: Mapping[str, Any]) -> str | None:
        """Never missing: the file is part of scikit-learn."""
        del params
        return None

    def load(self, params: Mapping[str, Any]) -> Arrays:
        """The digits as (items, 1, 8, 8) float32 in [0, 1]."""
        images, labels = read_digits()
        inputs = (images / 16.0).astype(np.float32)[:, None]
        chosen = stratified_subset(labels, "digits/1", params["items"])
        return Arrays(f"digits/1/{params['items']}", inputs[chosen], labels[chosen], 10)


DIGITS = Digits()
