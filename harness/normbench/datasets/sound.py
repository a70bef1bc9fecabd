"""Whether a data set's arrays are what they should be: those of other packages are checked."""

from __future__ import annotations

import numpy as np

from normbench.datasets.base import Arrays
from normbench.errors import UsageError


def check_arrays(arrays: Arrays) -> None:
    """Raise :class:`UsageError` for arrays that training would misread, or read in part.

    A label beyond the classes may end a run, and one of -100 is passed over by torch's loss without
    a word; inputs without a number make every run diverge, whatever its norm.
    """
    inputs, labels = np.asarray(arrays.inputs), np.asarray(arrays.labels)
    if inputs.ndim < 2 or len(inputs) != len(labels) or not len(labels):
        raise UsageError(
            "a data set has inputs (items, channels, ...) and as many labels (items,); received "
            f"inputs of shape {inputs.shape} and labels of shape {labels.shape}"
        )
    if labels.ndim != 1 and not (arrays.of_tokens and labels.shape == inputs.shape):
        raise UsageError(
            "labels have the shape (items,), or (items, tokens) for inputs of that shape and type "
            f"int64; received {labels.shape}"
        )
    if labels.ndim == 2 and not 0 <= inputs.min() <= inputs.max() < arrays.classes:
        raise UsageError(
            f"tokens are whole numbers from 0 to {arrays.classes - 1}, the classes; received "
            f"{int(inputs.min())} to {int(inputs.max())}"
        )
    for what, values in (("inputs", inputs), ("labels", labels), ("test inputs", _test(arrays))):
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            wrong = int((~np.isfinite(values)).sum())
            raise UsageError(
                f"{what} of a data set are finite numbers; received {wrong:,} values that are not: "
                "leave those items out, or put numbers in their place"
            )
    if arrays.task == "classification":
        outside = labels[(labels < 0) | (labels >= arrays.classes)]
        if labels.dtype.kind not in "iu" or len(outside):
            shown = sorted({v.item() for v in outside[:1000]})[:5] or labels.dtype
            raise UsageError(
                f"labels of {arrays.classes} classes are whole numbers from 0 to "
                f"{arrays.classes - 1}; received {shown}"
            )


def _test(arrays: Arrays) -> np.ndarray:
    return np.zeros(0) if arrays.test_inputs is None else np.asarray(arrays.test_inputs)
