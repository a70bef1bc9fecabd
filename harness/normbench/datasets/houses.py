"""Flats for sale, generated: area and number of bedrooms, and the price.

A regression with two features whose numbers differ by a factor of forty, as they do in life. Item
i of a version is the same however many are asked for. Version 1:

- the area in m² is log-normal around 95 (deviation of its logarithm 0.35), kept to 25 to 300;
- bedrooms are area/38 plus a normal deviation of 0.8, rounded, from 1 to 6;
- the price in thousands is 30 + 2.4 per m² + 28 per bedroom, plus a normal deviation of 45.

The numbers are made up to be plausible, fixed before any run, and no model of a market.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from normbench.datasets.base import Arrays
from normbench.plan.seeds import stream_key

FEATURES = ("area", "bedrooms")
#: How many m² the unit of the area holds: the foot is exactly 0.3048 m, the Korean pyeong 400/121.
AREA_UNITS = {"m2": 1.0, "ft2": 0.3048**2, "pyeong": 400.0 / 121.0, "are": 100.0}


def _flats(version: int, items: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Area (m²) and bedrooms, shape (items, 2), and prices in thousands, shape (items,)."""
    # the generator is named: default_rng may become another one some day
    rng = np.random.Generator(np.random.PCG64(stream_key(version, "draw", "houses")))
    drawn = rng.standard_normal((items, 3))  # row by row: item i does not depend on the count
    area = np.clip(95.0 * np.exp(0.35 * drawn[:, 0]), 25.0, 300.0)
    bedrooms = np.clip(np.rint(area / 38.0 + 0.8 * drawn[:, 1]), 1.0, 6.0)
    price = 30.0 + 2.4 * area + 28.0 * bedrooms + 45.0 * drawn[:, 2]
    return np.column_stack([area, bedrooms]), price


class Houses:
    """``items`` flats of a ``version``, with the area in ``area_unit``.

    The label, the price, is standardized by the training split, so that a loss of 1 is that of
    the mean and losses do not depend on how the inputs are normalized or in which unit they are.
    """

    def missing(self, params: Mapping[str, Any]) -> str | None:
        """Never missing: they are drawn when first asked for."""
        del params
        return None

    def load(self, params: Mapping[str, Any]) -> Arrays:
        """Area and bedrooms as float32 of shape (items, 2, 1, 1), and the prices."""
        items, version, unit = int(params["items"]), int(params["version"]), params["area_unit"]
        features, price = _flats(version, items)
        features[:, 0] /= AREA_UNITS[str(unit)]
        # the unit does not enter the key, so that the split is the same in every unit
        return Arrays(
            f"houses/{version}/{items}", features.astype(np.float32)[:, :, None, None],
            price.astype(np.float32), 1, task="regression", tolerance=0.5, standardized=True,
            features=FEATURES,
        )  # fmt: skip


HOUSES = Houses()
