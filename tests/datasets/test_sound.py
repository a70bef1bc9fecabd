"""Arrays of other packages' data sets are refused where training would misread them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from normbench.datasets.base import Arrays
from normbench.datasets.sound import check_arrays
from normbench.errors import UsageError

SOUND = Arrays("made/1", np.ones((6, 1, 2, 2), np.float32), np.array([0, 1, 2, 0, 1, 2]), 3)


def test_sound_arrays_pass() -> None:
    check_arrays(SOUND)
    check_arrays(replace(SOUND, inputs=SOUND.inputs.astype(np.uint8)))
    labels = np.array([-1.5, 2.0, 9.0, 0.0, 1.0, 2.0], np.float32)
    check_arrays(replace(SOUND, labels=labels, classes=1, task="regression"))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"labels": np.array([0, 1, 2, 0, 1, -100])}, r"from 0 to 2; received \[-100\]"),
        ({"labels": np.array([0, 1, 2, 0, 1, 3])}, r"received \[3\]"),
        ({"labels": np.array([0.0, 1, 2, 0, 1, 2])}, "received float64"),
        ({"labels": np.array([0, 1, 2])}, r"\(6, 1, 2, 2\) and labels of shape \(3,\)"),
        ({"inputs": np.full((6, 1, 2, 2), np.nan)}, "24 values that are not"),
        ({"test_inputs": np.full((6, 1, 2, 2), np.inf)}, "test inputs .* 24 values"),
        ({"labels": np.ones((6, 1), np.int64)}, "shape"),
    ],
)
def test_others_are_refused(changed: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        check_arrays(replace(SOUND, **changed))
