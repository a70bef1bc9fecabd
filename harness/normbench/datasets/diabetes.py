"""Diabetes progression of 442 patients (Efron et al. 2004), as shipped with scikit-learn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from normbench.datasets.base import Arrays
from normbench.datasets.shipped import shipped_table

#: Ten measurements: years, sex (1 or 2), kg/m², mmHg, and six of the blood serum.
FEATURES = ("age", "sex", "body mass index", "blood pressure", "total cholesterol", "LDL", "HDL",
            "cholesterol/HDL", "log triglycerides", "glucose")  # fmt: skip


def read_diabetes() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The measurements (442, 10), not scaled, and the labels, as scikit-learn's loader gives them.

    Where its files lie elsewhere, the loader is asked.
    """
    data, target = (shipped_table(f"diabetes_{part}.csv.gz") for part in ("data_raw", "target"))
    if data is not None and target is not None:
        return data, target
    from sklearn.datasets import load_diabetes

    raw = load_diabetes(scaled=False)
    return raw.data, raw.target


class Diabetes:
    """Ten features in their own units; the label is the disease's progression after a year.

    The label is standardized by the training split, so that a loss of 1 is that of the mean and
    losses do not depend on how the inputs are normalized. Efron, Hastie, Johnstone & Tibshirani
    2004, Least angle regression, Ann. Statist. 32:407.
    """

    def missing(self, params: Mapping[str, Any]) -> str | None:
        """Never missing: the file is part of scikit-learn."""
        del params
        return None

    def load(self, params: Mapping[str, Any]) -> Arrays:
        """The measurements as float32 of shape (442, 10, 1, 1), not scaled."""
        del params
        data, target = read_diabetes()
        inputs = data.astype(np.float32)[:, :, None, None]
        return Arrays(
            "diabetes/1", inputs, target.astype(np.float32), 1, task="regression",
            tolerance=0.5, standardized=True, features=FEATURES,
        )  # fmt: skip


DIABETES = Diabetes()
