"""What is known of a data set without training on it: for people who look for one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from normbench.datasets.base import Arrays
from normbench.datasets.inputs import channel_moments


@dataclass(frozen=True)
class About:
    """How many items and classes a data set has, and the shape of one input; None is not known.

    In a regression ``classes`` is 1.
    """

    items: int | None = None
    shape: tuple[int, ...] | None = None
    classes: int | None = None

    @classmethod
    def of(cls, arrays: Arrays) -> About:
        """That of data that are loaded."""
        return cls(len(arrays.labels), arrays.shape, arrays.classes)


def about(dataset: Any, params: Mapping[str, Any]) -> About:
    """What a data set says of itself by a method ``about``; else it is loaded, where it is here."""
    if hasattr(dataset, "about"):
        found: About = dataset.about(params)
        return found
    return About() if dataset.missing(params) else About.of(dataset.load(params))


def statistics(arrays: Arrays) -> dict[str, Any]:
    """Sizes, counts and moments of a data set, as plain values.

    Means and deviations are per channel (of tabular data per feature) over all items, in the units
    of the inputs: pictures in 0 to 1.
    """
    found: dict[str, Any] = {
        "items": len(arrays.labels),
        "shape": list(arrays.shape),
        "type": str(arrays.inputs.dtype),
        "bytes": int(arrays.inputs.nbytes),
        "task": arrays.task,
    }
    if arrays.given is not None:
        names = ("to be divided", "validation", "test")
        counts = np.bincount(np.asarray(arrays.given), minlength=3).tolist()
        found["given parts"] = dict(zip(names, counts, strict=True))
    labels = np.asarray(arrays.labels)
    if arrays.task == "classification":
        found["classes"] = arrays.classes
        found["items of each class"] = np.bincount(
            labels.reshape(-1), minlength=arrays.classes
        ).tolist()
    else:
        found |= {
            "mean of labels": float(labels.mean()),
            "deviation of labels": float(labels.std()),
        }
    if arrays.inputs.dtype.kind == "f" or arrays.inputs.dtype == np.uint8:
        moments = channel_moments(arrays.inputs, np.arange(len(labels)))
        found["mean"] = moments.mean.tolist()
        found["deviation"] = np.sqrt(moments.variance).tolist()
    if arrays.features:
        found["features"] = list(arrays.features)
    if arrays.skipped is not None:
        found["skipped files"] = len(arrays.skipped.reasons)
    found["sha256"] = arrays.sha256
    return found
