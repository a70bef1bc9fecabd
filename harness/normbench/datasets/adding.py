"""The adding problem (Hochreiter & Schmidhuber 1997, Neural Computation 9(8), experiment 4)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from normbench.datasets.base import Arrays
from normbench.plan.seeds import stream_key

#: Largest absolute error that counts as solved, as in the paper.
TOLERANCE = 0.04


def _sequences(marked: NDArray[np.float32], length: int, key: str) -> NDArray[np.float32]:
    """Sequences (items, 2, length) in which the values ``marked`` (items, 2) are the marked ones.

    One mark lies in each half; the positions and the other values come from the stream ``key``.
    """
    rng = np.random.default_rng(stream_key(0, "draw", key))
    items = np.arange(len(marked))
    places = rng.integers(0, (length // 2, length - length // 2), size=(len(marked), 2))
    places[:, 1] += length // 2
    values = rng.random((len(marked), length), dtype=np.float32)
    marks = np.zeros_like(values)
    for which in (0, 1):
        values[items, places[:, which]] = marked[:, which]
        marks[items, places[:, which]] = 1.0
    return np.stack([values, marks], axis=1)


class Adding:
    """Sum up the two marked ones of many values: a regression that needs a long memory.

    A step has two features: a value, uniform on [0, 1], and a mark that is 1 at one step of each
    half of the sequence and 0 elsewhere. The label is the sum of the two marked values. This is the
    variant of Le, Jaitly & Hinton (2015, arXiv:1504.00941); the first paper draws from [−1, 1] and
    rescales the sum. Always answering 1 has a mean squared error of 1/6.

    The test items have ``test_length`` steps instead of ``length``: with more steps than in
    training, they ask for what per-step statistics cannot know. An item has the same label in
    either length, so that one split serves both.
    """

    def missing(self, params: Mapping[str, Any]) -> str | None:
        """Never missing: it is generated."""
        del params
        return None

    def load(self, params: Mapping[str, Any]) -> Arrays:
        """Sequences as (items, 2, length) float32 in [0, 1], and their labels as float32."""
        items, length, test_length = params["items"], params["length"], params["test_length"]
        rng = np.random.default_rng(stream_key(0, "draw", f"adding/1/{items}"))
        marked = rng.random((items, 2), dtype=np.float32)
        return Arrays(
            key=f"adding/1/{items}/{length}/{test_length}",
            inputs=_sequences(marked, length, f"adding/1/{items}/train {length}"),
            labels=marked.sum(axis=1),
            classes=1,
            task="regression",
            tolerance=TOLERANCE,
            test_inputs=_sequences(marked, test_length, f"adding/1/{items}/test {test_length}"),
        )


ADDING = Adding()
