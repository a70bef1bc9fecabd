"""Labels that a user gives: classes, which are counted, or numbers to be predicted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from normbench.datasets.base import Task
from normbench.datasets.names import few_of
from normbench.errors import UsageError


@dataclass(frozen=True)
class Learned:
    """Labels (items,) in the form of :class:`~normbench.datasets.base.Arrays`, and their task."""

    values: NDArray[Any]
    classes: int
    task: Task


def learned(parts: Sequence[NDArray[Any]], task: str, source: str) -> Learned:
    """The labels of all parts, one after the other, and what they are.

    With ``task`` ``auto``, whole numbers and texts are classes and other numbers are a regression.
    Texts are numbered in their order. Raises :class:`UsageError` for labels that can be neither.
    """
    flat = [_flat(np.asarray(one), source) for one in parts]
    kinds = {_kind(one) for one in flat}
    if len(kinds) > 1:
        raise UsageError(
            f"labels of all parts are of one kind; {source} has {' and '.join(sorted(kinds))}"
        )
    values = np.concatenate(flat)
    if task == "regression" or (task == "auto" and values.dtype.kind == "f"):
        return _regression(values, source)
    return _classes(values, source)


def _flat(labels: NDArray[Any], source: str) -> NDArray[Any]:
    if labels.dtype.kind not in "biufUS":
        kind = "Python objects" if labels.dtype.hasobject else f"the type {labels.dtype}"
        raise UsageError(f"labels are numbers or texts; {source} has {kind}")
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1:
        raise UsageError(
            f"labels have the shape (items,); {source} has {labels.shape}; likely fix: of one "
            "column for each class store labels.argmax(1)"
        )
    return labels


def _kind(labels: NDArray[Any]) -> str:
    return {"U": "texts", "S": "texts", "f": "real numbers"}.get(labels.dtype.kind, "whole numbers")


def _regression(values: NDArray[Any], source: str) -> Learned:
    if _kind(values) == "texts":
        raise UsageError(f"labels of a regression are numbers; {source} has texts")
    with np.errstate(over="ignore"):  # what is too large becomes infinite, which is refused
        numbers = values.astype(np.float32)
    if len(numbers) and np.isfinite(numbers).all() and numbers.min() == numbers.max():
        raise UsageError(
            f"labels of a regression differ; all {len(numbers):,} of {source} are {numbers[0]:g}"
        )
    return Learned(numbers, 1, "regression")


def _classes(values: NDArray[Any], source: str) -> Learned:
    if values.dtype.kind == "f" and not (np.isfinite(values) & (values == np.rint(values))).all():
        raise UsageError(
            f"labels of classes are whole numbers or texts; {source} has others; likely fix: "
            'task = "regression", or number the classes from 0'
        )
    known, numbers, counts = np.unique(values, return_inverse=True, return_counts=True)
    if len(known) < 2:
        raise UsageError(
            f"a classification has at least 2 classes; the labels of {source} are "
            f"{few_of(map(str, known.tolist())) or 'none'}"
        )
    if values.dtype.kind not in "US":
        _check_numbers(known.astype(np.int64), source)
    if len(known) > len(values) / 2:
        raise UsageError(
            f"{source} has {len(known):,} different labels of {len(values):,} items, too many to "
            'be classes; likely fix: task = "regression", or other labels'
        )
    few = [str(name) for name, n in zip(known.tolist(), counts, strict=True) if n < 2]
    if few:
        raise UsageError(
            f"every class needs at least 2 items; {source} has one of {few_of(few)}; likely fix: "
            "add items of these classes, or leave the classes out"
        )
    return Learned(numbers.astype(np.int64), len(known), "classification")


def _check_numbers(known: NDArray[np.int64], source: str) -> None:
    """Whether whole numbers number their classes from 0 without a gap."""
    if (known == np.arange(len(known))).all():
        return
    low, high = int(known[0]), int(known[-1])
    absent = [str(n) for n in range(max(0, low), min(high, low + 10_000)) if n not in set(known)]
    gap = f", without {few_of(absent)}" if absent else ""
    fix = "subtract their smallest" if low > 0 and not absent else "number the classes from 0"
    mask = "; negative labels often mark items without one: leave those out" if low < 0 else ""
    raise UsageError(
        f"labels of {len(known):,} classes are the whole numbers from 0 to {len(known) - 1}; "
        f"{source} has {low} to {high}{gap}; likely fix: {fix}{mask}"
    )
