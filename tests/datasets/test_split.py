"""Splits: disjoint, complete, stratified, and decided by data set and split seed alone."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from normbench.datasets.split import (
    Split,
    proportional_shares,
    stratified_split,
    stratified_subset,
)
from normbench.errors import UsageError

COUNTS = st.lists(st.integers(1, 60), min_size=2, max_size=8).map(np.array)
FRACTIONS = st.tuples(st.floats(0.02, 0.9), st.floats(0.02, 0.9)).filter(lambda f: sum(f) < 0.98)


def labels_of(counts: np.ndarray) -> np.ndarray:
    labels = np.repeat(np.arange(len(counts)), counts)
    return np.random.default_rng(1).permutation(labels)


def split_of(labels: np.ndarray, seed: int, fractions: tuple[float, float]) -> Split:
    """A split, where its parts have items; the refusal of empty ones is tested on its own."""
    sizes = [round(len(labels) * fraction) for fraction in fractions]
    assume(min(*sizes, len(labels) - sum(sizes)) > 0)
    return stratified_split(labels, "toy", seed, *fractions)


@settings(max_examples=150, deadline=None)
@given(counts=COUNTS, fractions=FRACTIONS, seed=st.integers(0, 2**62))
def test_a_split_is_disjoint_complete_and_stratified(
    counts: np.ndarray, fractions: tuple[float, float], seed: int
) -> None:
    labels = labels_of(counts)
    split = split_of(labels, seed, fractions)
    whole = np.concatenate([split.train, split.validation, split.test])
    assert sorted(whole) == list(range(len(labels)))
    assert len(split.validation) == round(len(labels) * fractions[0])
    assert len(split.test) == round(len(labels) * fractions[1])
    for part in (split.train, split.validation, split.test):
        found = np.bincount(labels[part], minlength=len(counts))
        assert np.abs(found - counts * len(part) / len(labels)).max() < 2


@settings(max_examples=100, deadline=None)
@given(counts=COUNTS, fractions=FRACTIONS, data=st.data())
def test_the_training_size_moves_no_other_part(
    counts: np.ndarray, fractions: tuple[float, float], data: st.DataObject
) -> None:
    labels = labels_of(counts)
    split = split_of(labels, 3, fractions)
    size = data.draw(st.integers(1, len(split.train)))
    fewer = stratified_split(labels, "toy", 3, *fractions, size)
    assert len(fewer.train) == size
    assert set(fewer.train) <= set(split.train)
    # in the same order too: batches of evaluation and stored predictions go by it
    assert fewer.validation.tolist() == split.validation.tolist()
    assert fewer.test.tolist() == split.test.tolist()


def test_fewer_training_items_are_stratified_and_nested() -> None:
    labels = labels_of(np.array([100, 50, 10]))
    sizes = [12, 24, 48, 96]
    parts = [stratified_split(labels, "toy", 0, 0.2, 0.2, s).train for s in sizes]
    for size, part in zip(sizes, parts, strict=True):
        found = np.bincount(labels[part], minlength=3)
        assert np.abs(found - np.array([60, 30, 6]) * size / 96).max() < 1
    assert all(set(a) <= set(b) for a, b in itertools.pairwise(parts))


def test_data_set_and_split_seed_decide() -> None:
    labels = labels_of(np.array([40, 40, 40]))
    one = stratified_split(labels, "toy", 0, 0.2, 0.2)
    assert one.train.tolist() == stratified_split(labels, "toy", 0, 0.2, 0.2).train.tolist()
    assert one.train.tolist() != stratified_split(labels, "toy", 1, 0.2, 0.2).train.tolist()
    assert one.train.tolist() != stratified_split(labels, "other", 0, 0.2, 0.2).train.tolist()


def test_a_split_ignores_the_global_generator() -> None:
    labels = labels_of(np.array([40, 40]))
    np.random.seed(1)
    one = stratified_split(labels, "toy", 0, 0.2, 0.2)
    before = np.random.get_state()[1].tolist()  # type: ignore[union-attr]
    np.random.seed(2)
    assert one.test.tolist() == stratified_split(labels, "toy", 0, 0.2, 0.2).test.tolist()
    np.random.seed(1)
    assert before == np.random.get_state()[1].tolist()  # type: ignore[union-attr]


def test_parts_are_in_random_order() -> None:
    labels = labels_of(np.array([50] * 10))
    split = stratified_split(labels, "toy", 0, 0.2, 0.2)
    for part in (split.train, split.validation, split.test):
        changes = int((np.diff(labels[part]) != 0).sum())
        # sorted by class there would be 9 changes; shuffled nine neighbours in ten differ
        assert changes > 0.75 * len(part)


def test_classes_hold_no_more_items_than_they_have() -> None:
    # five of each of ten classes: rounding both parts up would take six of the first ones
    labels = labels_of(np.array([5] * 10))
    split = stratified_split(labels, "toy", 0, 0.45, 0.45)
    assert [len(p) for p in (split.train, split.validation, split.test)] == [6, 22, 22]
    assert len(stratified_split(labels, "toy", 0, 0.45, 0.45, 6).train) == 6


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((0.5, 0.5), "must be below 1"),
        ((0.001, 0.2), "validation split of toy would be empty"),
        ((0.2, 0.001), "test split of toy would be empty"),
        ((0.2, 0.2, 61), "train_size must not exceed the training split of toy (60 items)"),
    ],
)
def test_a_split_that_cannot_be_made_says_why(arguments: tuple[float, ...], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        stratified_split(labels_of(np.array([50, 50])), "toy", 0, *arguments)  # type: ignore[arg-type]
    assert said in str(caught.value)


@given(counts=COUNTS, share=st.floats(0, 1))
def test_shares_are_proportional_and_add_up(counts: np.ndarray, share: float) -> None:
    total = round(share * int(counts.sum()))
    found = proportional_shares(counts, total)
    assert found.sum() == total
    assert (np.abs(found - counts * total / counts.sum()) < 1).all()
    assert (found >= 0).all()
    assert (found <= counts).all()


@pytest.mark.parametrize(
    ("counts", "total", "shares"),
    [
        # Hamilton's method by hand: quotas 3.08, 2.31, 4.62 and 1.5, 1.5, 2
        ([20, 15, 30], 10, [3, 2, 5]),
        ([3, 3, 4], 5, [2, 1, 2]),
        ([7], 7, [7]),
        ([5, 5], 0, [0, 0]),
    ],
)
def test_shares_by_hand(counts: list[int], total: int, shares: list[int]) -> None:
    assert proportional_shares(np.array(counts), total).tolist() == shares


@given(counts=COUNTS, data=st.data())
def test_a_subset_is_stratified_sorted_and_repeatable(
    counts: np.ndarray, data: st.DataObject
) -> None:
    labels = labels_of(counts)
    items = data.draw(st.integers(1, len(labels)))
    found = stratified_subset(labels, "toy", items)
    assert len(set(found)) == items
    assert found.tolist() == sorted(found)
    assert found.tolist() == stratified_subset(labels, "toy", items).tolist()
    kept = np.bincount(labels[found], minlength=len(counts))
    assert kept.tolist() == proportional_shares(counts, items).tolist()


def test_a_subset_larger_than_the_data_is_refused() -> None:
    with pytest.raises(UsageError, match="must not exceed the 4 items of toy; received items = 5"):
        stratified_subset(np.array([0, 0, 1, 1]), "toy", 5)
