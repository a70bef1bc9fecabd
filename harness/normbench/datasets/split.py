"""Splitting a data set: stratified, and the same for every seed, norm and batch size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from normbench.datasets.base import Arrays, Task
from normbench.errors import UsageError
from normbench.plan.seeds import stream_key

Indices = NDArray[np.int64]
#: Strata of equally many items into which the labels of a regression are cut.
REGRESSION_STRATA = 10


def stratified_subset(labels: NDArray[np.int64], key: str, items: int) -> Indices:
    """Positions of ``items`` items of data set ``key``, in proportion to the classes, sorted.

    Decided by the data set alone, so that every protocol that asks for as many gets the same.
    """
    if items > len(labels):
        raise UsageError(
            f"items must not exceed the {len(labels)} items of {key.split('/')[0]}; received "
            f"items = {items}; likely fix: leave items out, which takes all of them"
        )
    rng = np.random.default_rng(stream_key(0, "subset", key))
    classes, counts = np.unique(labels, return_counts=True)
    chosen = [
        rng.permutation(np.flatnonzero(labels == c))[:share]
        for c, share in zip(classes, proportional_shares(counts, items), strict=True)
    ]
    subset: Indices = np.sort(np.concatenate(chosen)).astype(np.int64)
    return subset


@dataclass(frozen=True)
class Split:
    """Positions of the training, validation and test items; no item is in two of them."""

    train: Indices
    validation: Indices
    test: Indices


def strata_of(labels: NDArray[Any], task: Task) -> NDArray[np.int64]:
    """For each item the number of the stratum that a split draws from in proportion.

    In a classification that is the item's class. The labels of a regression rarely repeat, so that
    classes of them would hold one item each: there it is the item's tenth of the labels' ranks,
    so that every part of a split covers the range of the labels alike. Items with a label for each
    token are one stratum.
    """
    if labels.ndim > 1:
        return np.zeros(len(labels), dtype=np.int64)
    if task == "classification":
        return labels
    ranks = np.empty(len(labels), dtype=np.int64)
    ranks[np.argsort(labels, kind="stable")] = np.arange(len(labels))
    return ranks * REGRESSION_STRATA // max(1, len(labels))


def proportional_shares(counts: Indices, total: int) -> Indices:
    """``total`` items shared among classes in proportion to ``counts`` (largest remainder)."""
    exact = counts * (total / counts.sum())
    shares: Indices = np.floor(exact).astype(np.int64)
    short = total - int(shares.sum())
    # Ties go to the lower class number, so that the shares never depend on the sort's whims.
    order = np.argsort(-(exact - shares), kind="stable")
    shares[order[:short]] += 1
    return shares


def stratified_split(
    labels: NDArray[np.int64],
    key: str,
    split_seed: int,
    validation_fraction: float,
    test_fraction: float,
    train_size: int | None = None,
    given: NDArray[Any] | None = None,
) -> Split:
    """Split by class, decided by (data set, split seed) alone.

    ``labels`` has shape (items,): classes, or the strata of :func:`strata_of`; ``key`` is the data
    set's. ``train_size`` keeps that many training items, in proportion to the classes; validation
    and test do not depend on it. Items that are ``given`` for a part (see
    :class:`~normbench.datasets.base.Arrays`) are all of it, and the fractions are of the others.
    Each part is in random order. Raises :class:`UsageError` when a part would be empty.
    """
    free = np.ones(len(labels), dtype=np.bool_) if given is None else given == 0
    own = {"validation": given == 1, "test": given == 2} if given is not None else {}
    validation_fraction = 0.0 if np.any(own.get("validation", False)) else validation_fraction
    test_fraction = 0.0 if np.any(own.get("test", False)) else test_fraction
    if validation_fraction + test_fraction >= 1:
        raise UsageError(
            "validation_fraction + test_fraction must be below 1, so that items are left for "
            f"training; received {validation_fraction:g} + {test_fraction:g}"
        )
    rng = np.random.default_rng(stream_key(split_seed, "split", key))
    classes, counts = np.unique(labels[free], return_counts=True)
    n_validation = round(int(free.sum()) * validation_fraction)
    n_test = round(int(free.sum()) * test_fraction)
    validation_shares = proportional_shares(counts, n_validation)
    # of what validation left, so that no class gives more items than it has
    test_shares = proportional_shares(counts - validation_shares, n_test)
    train_counts = counts - validation_shares - test_shares
    available = int(train_counts.sum())
    if train_size is not None and train_size > available:
        raise UsageError(
            f"train_size must not exceed the training split of {key} ({available} items); "
            f"received {train_size}"
        )
    train_shares = (
        train_counts if train_size is None else proportional_shares(train_counts, train_size)
    )
    # Shuffled in this order: what training leaves out must not move the other parts' items.
    parts: dict[str, list[Indices]] = {"validation": [], "test": [], "train": []}
    for c, n_val, n_tst, n_trn in zip(
        classes, validation_shares, test_shares, train_shares, strict=True
    ):
        items = rng.permutation(np.flatnonzero((labels == c) & free))
        parts["validation"].append(items[:n_val])
        parts["test"].append(items[n_val : n_val + n_tst])
        parts["train"].append(items[n_val + n_tst :][:n_trn])
    for name, mask in own.items():
        parts[name].append(np.flatnonzero(mask))
    shuffled = {}
    for name, pieces in parts.items():
        part = rng.permutation(np.concatenate(pieces))
        if len(part) == 0:
            raise UsageError(
                f"the {name} split of {key} would be empty ({len(labels)} items in all); "
                "use a larger fraction or more data"
            )
        shuffled[name] = part.astype(np.int64)
    return Split(**shuffled)


def split_of(
    arrays: Arrays,
    split_seed: int,
    validation_fraction: float,
    test_fraction: float,
    train_size: int | None = None,
) -> Split:
    """The split of a data set; see :func:`stratified_split`."""
    strata = strata_of(arrays.labels, arrays.task)
    return stratified_split(
        strata, arrays.key, split_seed, validation_fraction, test_fraction, train_size, arrays.given
    )
