"""The 8×8 digits as sequences: row by row, and pixel by pixel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from normbench.datasets.base import Arrays
from normbench.datasets.digits import read_digits
from normbench.datasets.split import stratified_subset


class DigitSequences:
    """1,797 digits of ten classes, read in ``steps`` steps from the top left, in reading order.

    The pixel-by-pixel reading is the sequential image classification of Le, Jaitly & Hinton (2015,
    arXiv:1504.00941) on the small digits that every machine has.
    """

    def __init__(self, name: str, steps: int) -> None:
        self.name, self.steps = name, steps

    def missing(self, params: Mapping[str, Any]) -> str | None:
        """Never missing: the file is part of scikit-learn."""
        del params
        return None

    def load(self, params: Mapping[str, Any]) -> Arrays:
        """The digits as (items, features, steps) float32 in [0, 1].

        With 8 steps, a step is a row and its features are the row's 8 pixels; with 64 steps it is a
        single pixel. The features lie where images have their channels, so that a per-channel
        input normalization is one per feature.
        """
        images, labels = read_digits()
        pixels = (images / 16.0).astype(np.float32)
        inputs = pixels.reshape(len(pixels), self.steps, -1).transpose(0, 2, 1)
        key = f"{self.name}/1/{params['items']}"
        chosen = stratified_subset(labels, "digits/1", params["items"])
        return Arrays(key, np.ascontiguousarray(inputs[chosen]), labels[chosen], 10)


DIGITS_ROWS = DigitSequences("digits-rows", 8)
DIGITS_PIXELS = DigitSequences("digits-pixels", 64)
