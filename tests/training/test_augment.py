"""Augmented pictures: what each change does, and that all engines, norms and batch sizes agree."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from normbench.errors import ProtocolError, UsageError
from normbench.plan.spec import RunSpec, cell_hash
from normbench.training import data as data_module
from normbench.training.augment import Batches, Crop, Cutout, Flip
from normbench.training.check import check_cell
from normbench.training.data import forget_data, prepare
from normbench.training.loop import train
from normbench.training.packed import PackedEngine
from normbench.training.plain import PlainEngine
from normbench.training.probing import probe_batches
from normbench.training.stacked import StackedEngine
from tests.builders import cell, run_of
from tests.training.engines import assert_as_alone

ALL: list[Any] = ["flip", {"name": "crop", "padding": 2}, {"name": "cutout", "size": 3}]
PICTURES = torch.arange(6 * 2 * 5 * 4, dtype=torch.float32).view(6, 2, 5, 4) + 1


def numbers(draws: int) -> Tensor:
    return torch.rand(6, draws, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


# -- each change, against arrays -----------------------------------------------------------------


def test_flip() -> None:
    u = numbers(1)
    found = Flip(p=0.5)(PICTURES, u)
    for picture, new, drawn in zip(PICTURES, found, u, strict=True):
        assert torch.equal(new, picture.flip(2) if drawn < 0.5 else picture)
    assert torch.equal(Flip(p=1.0)(PICTURES, u), PICTURES.flip(3))


@pytest.mark.parametrize("padding", [1, 3])
def test_crop_is_a_crop_of_the_padded_picture(padding: int) -> None:
    u = numbers(2)
    found = Crop(padding=padding)(PICTURES, u)
    wide = np.pad(PICTURES.numpy(), ((0, 0), (0, 0), (padding,) * 2, (padding,) * 2))
    corners = np.floor(u.numpy() * (2 * padding + 1)).astype(int)
    for picture, new, (top, left) in zip(wide, found, corners, strict=True):
        assert new.numpy().tolist() == picture[:, top : top + 5, left : left + 4].tolist()
    assert len({tuple(corner) for corner in corners}) > 1


@pytest.mark.parametrize("size", [1, 2, 3])
def test_cutout_hides_a_square(size: int) -> None:
    u = numbers(2)
    found = Cutout(size=size)(PICTURES, u)
    for picture, new, (a, b) in zip(PICTURES.numpy(), found.numpy(), u.numpy(), strict=True):
        row, column = int(a * 5) - size // 2, int(b * 4) - size // 2
        wanted = picture.copy()
        wanted[:, max(0, row) : max(0, row + size), max(0, column) : max(0, column + size)] = 0
        assert new.tolist() == wanted.tolist()
        assert (new == 0).any()


def test_every_place_is_as_likely() -> None:
    u = torch.rand(20_000, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x = torch.zeros(20_000, 1, 5, 5)
    x[:, :, 2, 2] = 1
    places = Crop(padding=2)(x, u).mean(0)
    assert (places - 1 / 25).abs().max() < 0.005
    hidden = (Cutout(size=1)(torch.ones_like(x), u) == 0).float().mean(0)
    assert (hidden - 1 / 25).abs().max() < 0.005


# -- in training ---------------------------------------------------------------------------------


def runs_of(count: int, **axes: Any) -> list[RunSpec]:
    small: dict[str, Any] = {"model": "small-cnn", "norm": "layer", "augment": ALL, "epochs": 2}
    return [run_of(seed, **(small | axes)) for seed in range(count)]


Seen = dict[tuple[int, int, int], Tensor]


def seen_by(make: Callable[..., Any], runs: list[RunSpec], monkeypatch: Any) -> Seen:
    """The pictures that an engine's nets are given, by seed, epoch and item."""
    found: Seen = {}
    whole = Batches.inputs

    def noted(self: Batches, index: Tensor) -> Tensor:
        x = whole(self, index)
        each = x.view(*index.shape, *x.shape[1:])
        for run, places, pictures in zip(runs, index, each, strict=True):
            for item, picture in zip(places.tolist(), pictures, strict=True):
                assert (run.seed, self._epoch, item) not in found
                found[(run.seed, self._epoch, item)] = picture.clone()
        return x

    with monkeypatch.context() as patch:
        patch.setattr(Batches, "inputs", noted)
        engine = make(runs, prepare(runs[0].cell))
        assert all(outcome.status == "finished" for outcome in train(engine))
    return found


def plain(runs: list[RunSpec], data: Any) -> PlainEngine:
    (run,) = runs
    return PlainEngine(run, data)


def assert_same(one: Seen, other: Seen) -> None:
    shared = one.keys() & other.keys()
    assert len(shared) > 50
    for key in shared:
        assert torch.equal(one[key], other[key]), key


def test_all_engines_are_given_the_same_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = runs_of(2)
    packed = seen_by(PackedEngine, runs, monkeypatch)
    stacked = seen_by(StackedEngine, runs, monkeypatch)
    alone = {k: v for run in runs for k, v in seen_by(plain, [run], monkeypatch).items()}
    assert packed.keys() == stacked.keys() == alone.keys()
    assert_same(packed, alone)
    assert_same(stacked, alone)


@pytest.mark.parametrize(
    "axes",
    [
        {"norm": "batch"}, {"batch_size": 4}, {"batch_size": 5, "accumulate": 2},
        {"learning_rate": 0.01}, {"init": "he"},
    ],
    ids=str,
)  # fmt: skip
def test_runs_of_a_seed_are_paired(axes: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    one = seen_by(plain, runs_of(1), monkeypatch)
    assert_same(one, seen_by(plain, runs_of(1, **axes), monkeypatch))


def test_seeds_and_epochs_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    found = seen_by(PackedEngine, runs_of(2), monkeypatch)
    items = [
        i for s, e, i in found if (s, e) == (0, 0) and (0, 1, i) in found and (1, 0, i) in found
    ]
    assert len(items) > 30
    assert sum(not torch.equal(found[(0, 0, i)], found[(0, 1, i)]) for i in items) > 20
    assert sum(not torch.equal(found[(0, 0, i)], found[(1, 0, i)]) for i in items) > 20


@pytest.mark.parametrize("make", [PackedEngine, StackedEngine])
def test_engines_train_alike(make: Any) -> None:
    assert_as_alone(runs_of(2), make=make)


def test_stored_pictures_are_augmented_as_scaled_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    one = seen_by(plain, runs_of(1), monkeypatch)
    monkeypatch.setattr(data_module, "SCALED_BYTES", 0)
    forget_data()
    assert prepare(runs_of(1)[0].cell).train.rows is not None
    assert_same(one, seen_by(plain, runs_of(1), monkeypatch))
    forget_data()


def test_only_training_batches_are_changed() -> None:
    run = runs_of(1)[0]
    data = prepare(run.cell)
    before = data.train.x.clone()
    (outcome,) = train(PlainEngine(run, data))
    assert torch.equal(data.train.x, before)
    without = runs_of(1, augment=[])[0]
    for (x, y), (x0, y0) in zip(
        probe_batches(run, data), probe_batches(without, data), strict=True
    ):
        assert torch.equal(x, x0)
        assert torch.equal(y, y0)
    (plainly,) = train(PlainEngine(without, data))
    assert outcome.epochs[0]["val_loss"] == plainly.epochs[0]["val_loss"]
    assert outcome.epochs[-1]["val_loss"] != plainly.epochs[-1]["val_loss"]


# -- what is said of it --------------------------------------------------------------------------


def test_augmentations_are_part_of_a_cells_identity() -> None:
    assert cell_hash(cell(augment=[])) == cell_hash(cell())
    found = [
        cell_hash(cell(augment=x))
        for x in ([], "flip", ["crop"], [{"name": "crop", "padding": 2}], ["flip", "crop"])
    ]
    assert len(set(found)) == 5
    assert cell(augment="flip") == cell(augment=["flip"])
    assert [str(one) for one in cell(augment=ALL).augment] == [
        "flip", "crop(padding=2)", "cutout(size=3)",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("augment", "said"),
    [
        (["flop"], "unknown augmentation 'flop'.*did you mean 'flip'"),
        (["flip", "flip"], "'flip' is listed more than once"),
        ([{"name": "crop", "pading": 3}], "unknown key 'pading'.*did you mean 'padding'"),
        ([{"name": "crop", "padding": 0}], "must be at least 1"),
        (3, "a name or a table"),
    ],
)
def test_faults_are_told(augment: Any, said: str) -> None:
    with pytest.raises(ProtocolError, match=f"(?s){said}"):
        cell(augment=augment)


@pytest.mark.parametrize(
    ("axes", "said"),
    [
        ({"dataset": "diabetes", "model": "linear", "norm": "none"}, r"shape \(10, 1, 1\)"),
        ({"dataset": "digits-rows", "model": "rnn"}, r"shape \(8, 8\); likely fix: leave"),
        ({"augment": [{"name": "crop", "padding": 8}]}, "8×8 pixels: a padding of 8"),
        ({"augment": ["cutout"]}, "8×8 pixels: a square of 8 pixels may cover all"),
    ],
)
def test_data_that_cannot_be_augmented_are_refused(axes: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        check_cell(cell(**{"augment": ["flip"], "norm": "layer", **axes}))
