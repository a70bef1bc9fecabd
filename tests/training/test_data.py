"""Prepared data: one split for all seeds, constants of the training split alone, paired orders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from normbench.catalog import DATASETS, Entry
from normbench.datasets.base import Arrays
from normbench.errors import DataMissingError, UsageError
from normbench.training import data as module
from normbench.training.check import check_cell
from normbench.training.data import (
    Part,
    _prepare,
    arrays_of,
    check_batch_size,
    epoch_order,
    prepare,
    split_of,
)
from tests.builders import cell


def parts(**axes: Any) -> dict[str, Part]:
    found = prepare(cell(**axes))
    return {"train": found.train, "validation": found.validation, "test": found.test}


def test_parts_are_the_splits_items() -> None:
    one = cell(input_norm="raw")
    arrays, split = arrays_of(one), split_of(one)
    for name, part in parts(input_norm="raw").items():
        index = getattr(split, name)
        assert part.x.numpy().tolist() == arrays.inputs[index].tolist()
        assert part.y.tolist() == arrays.labels[index].tolist()
    assert prepare(one).classes == 10
    assert prepare(one).shape == (1, 8, 8)


def test_constants_come_from_the_training_split_alone() -> None:
    one = cell()
    arrays, split = arrays_of(one), split_of(one)
    train = arrays.inputs[split.train].astype(np.float64)
    mean, deviation = train.mean(), train.std()
    whole = arrays.inputs.astype(np.float64)
    assert abs(mean - whole.mean()) > 1e-4, "the test could not tell the two apart"
    for name, part in parts().items():
        wanted = (arrays.inputs[getattr(split, name)] - mean) / deviation
        assert np.abs(part.x.numpy() - wanted).max() < 1e-6, name
    assert parts()["train"].x.mean().item() == pytest.approx(0, abs=1e-6)
    assert abs(parts()["validation"].x.mean().item()) > 1e-4


@pytest.mark.parametrize(
    "axes",
    [
        {"norm": "layer"}, {"batch_size": 3}, {"epochs": 7}, {"learning_rate": 3.0},
        {"model": "small-cnn"}, {"evaluations_per_epoch": 3}, {"init": "he"},
        {"statistics_samples": 10},
    ],
    ids=str,
)  # fmt: skip
def test_cells_that_differ_elsewhere_share_their_data(axes: dict[str, Any]) -> None:
    assert prepare(cell(**axes)) is prepare(cell())


@pytest.mark.parametrize(
    "axes",
    [
        {"split_seed": 1}, {"input_norm": "raw"}, {"train_size": 30}, {"test_fraction": 0.3},
        {"validation_fraction": 0.3}, {"dataset": {"name": "digits", "items": 110}},
    ],
    ids=str,
)  # fmt: skip
def test_cells_that_differ_in_their_data_do_not_share_it(axes: dict[str, Any]) -> None:
    one, other = parts(), parts(**axes)
    assert any(
        one[n].x.shape != other[n].x.shape or not torch.equal(one[n].x, other[n].x) for n in one
    )


def test_the_training_size_leaves_labels_and_order_of_the_others() -> None:
    one, fewer = parts(), parts(train_size=30)
    assert len(fewer["train"]) == 30
    for name in ("validation", "test"):
        assert torch.equal(one[name].y, fewer[name].y)


def test_data_are_the_same_after_the_cache_was_emptied() -> None:
    before = parts()
    kept = {n: p.x.clone() for n, p in before.items()}
    for items in range(101, 107):
        prepare(cell(dataset={"name": "digits", "items": items}))
    assert prepare(cell()).train is not before["train"]
    assert all(torch.equal(p.x, kept[n]) for n, p in parts().items())


# -- orders ------------------------------------------------------------------------------------


def test_an_order_is_a_permutation_that_seed_and_epoch_decide() -> None:
    orders = [epoch_order(seed, epoch, 60).tolist() for seed in (0, 1) for epoch in (0, 1)]
    assert all(sorted(order) == list(range(60)) for order in orders)
    assert len({tuple(order) for order in orders}) == 4
    assert orders[0] == epoch_order(0, 0, 60).tolist()


def test_an_order_leaves_the_global_generator_alone() -> None:
    before = torch.get_rng_state()
    epoch_order(0, 0, 60)
    assert torch.equal(before, torch.get_rng_state())


# -- parts -------------------------------------------------------------------------------------


def part_of(items: int) -> Part:
    return Part(torch.arange(items, dtype=torch.float32)[:, None], torch.arange(items))


def joined(chunks: list[tuple[Tensor, Tensor]]) -> list[int]:
    return torch.cat([y for _, y in chunks]).tolist()


@given(items=st.integers(1, 60), size=st.integers(1, 70))
def test_chunks_hold_every_item_once_in_order(items: int, size: int) -> None:
    chunks = list(part_of(items).chunks(size))
    assert joined(chunks) == list(range(items))
    assert all(len(y) == size for _, y in chunks[:-1])
    assert all(x[:, 0].tolist() == y.tolist() for x, y in chunks)


@given(items=st.integers(1, 60), size=st.integers(1, 150))
def test_whole_batches_are_filled_up_from_the_start(items: int, size: int) -> None:
    filled = part_of(items).whole_batches(size)
    assert len(filled) % size == 0
    assert len(filled) - items < size
    assert filled.y.tolist() == [i % items for i in range(len(filled))]
    assert filled.x[:, 0].tolist() == filled.y.tolist()


def test_the_first_items() -> None:
    assert part_of(5).first(3).y.tolist() == [0, 1, 2]
    assert part_of(5).first(9).y.tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("axes", [
    {"input_norm": "raw"},
    {"input_norm": "per-channel", "input_units": "uneven"},
    {"input_norm": "imagenet", "input_units": "byte"},
])  # fmt: skip
def test_photos_scaled_batch_by_batch_are_those_scaled_at_once(
    axes: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("NORMBENCH_CACHE", str(tmp_path))
    one = cell(
        dataset={"name": "pets", "items": 60, "resolution": 32},
        model={"name": "alexnet", "width": 0.125},
        **axes,
    )
    whole = _prepare(one, "cpu")
    monkeypatch.setattr("normbench.training.data.SCALED_BYTES", 0)
    stored = _prepare(one, "cpu")
    assert stored.train.x.dtype == torch.uint8
    assert stored.shape == whole.shape == (3, 32, 32)
    index = torch.tensor([5, 0, 5, 11])
    for name in ("train", "validation", "test"):
        a, b = getattr(whole, name), getattr(stored, name)
        assert torch.equal(a.inputs(index), b.inputs(index))
        assert torch.equal(a.y, b.y)
        for one_part, other in ((a.first(7), b.first(7)), (a.whole_batches(9), b.whole_batches(9))):
            assert len(one_part) == len(other)
            for (x, y), (u, v) in zip(one_part.chunks(4), other.chunks(4), strict=True):
                assert torch.equal(x, u)
                assert torch.equal(y, v)


# -- what cannot be trained --------------------------------------------------------------------


def test_a_batch_may_be_as_large_as_the_training_split_and_not_larger() -> None:
    check_batch_size(cell(batch_size=60), 60)
    assert check_cell(cell(batch_size=60)) is None
    with pytest.raises(UsageError, match=r"must not exceed .*60 items of digits.*received 61"):
        check_cell(cell(batch_size=61))
    with pytest.raises(UsageError, match=r"must not exceed .*30 items"):
        check_cell(cell(batch_size=31, train_size=30))


def test_a_training_size_beyond_the_split_is_refused() -> None:
    with pytest.raises(UsageError, match="train_size must not exceed"):
        check_cell(cell(train_size=61))


@pytest.mark.parametrize(
    ("axes", "said"),
    [
        ({"norm": "batch", "batch_size": 1}, "batch norm"),
        ({"norm": "instance"}, "instance norm"),
        ({"norm": "layer", "batch_size": 1}, None),
        ({"norm": "batch", "batch_size": 1, "model": "small-cnn"}, None),
        ({"norm": "instance", "model": "small-cnn"}, None),
    ],
)
def test_undefined_cells_are_told_apart(axes: dict[str, Any], said: str | None) -> None:
    reason = check_cell(cell(**axes))
    assert (reason is None) if said is None else (reason is not None and said in reason)


def test_groups_that_do_not_divide_are_a_fault_and_not_an_undefined_cell() -> None:
    with pytest.raises(UsageError, match="3 groups do not divide 16"):
        check_cell(cell(norm={"name": "group", "groups": 3}))


class Absent:
    """A data set that is not on this machine."""

    def missing(self, params: Any) -> str | None:
        return "fetch it from somewhere" if params else None

    def load(self, params: Any) -> Arrays:
        raise AssertionError(f"must not be read with {params}")


def test_missing_data_say_how_to_get_them(monkeypatch: pytest.MonkeyPatch) -> None:
    module._arrays.cache_clear()
    monkeypatch.setattr("normbench.datasets.digits.DIGITS", Absent())
    assert isinstance(DATASETS["digits"], Entry)
    with pytest.raises(DataMissingError, match=r"data set digits .* fetch it from somewhere"):
        check_cell(cell())
    monkeypatch.undo()
    assert check_cell(cell()) is None
