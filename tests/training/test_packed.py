"""Runs that are trained together give what the plain loop gives, each on its own."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch

from normbench.catalog import NORMS, SCHEDULES
from normbench.plan.spec import RunSpec
from normbench.training.data import EVALUATION_CHUNK, prepare
from normbench.training.packed import PackedEngine
from normbench.training.plain import CHANNELS_LAST, COMPILED
from tests.builders import run_of
from tests.training.engines import (
    MEASURED,
    assert_as_alone,
    assert_equal,
    in_double,
    train_alone,
    train_together,
)

CNN = {"name": "small-cnn", "width": 8}
#: An image model for every norm, in steps that cross the end of an epoch.
BASE: dict[str, Any] = {
    "model": CNN, "batch_size": 4, "budget_steps": 30, "evaluations": 3,
    "statistics_samples": 20, "learning_rate": 0.05,
}  # fmt: skip


def runs_of(count: int, **axes: Any) -> list[RunSpec]:
    return [run_of(seed=seed, **(BASE | axes)) for seed in range(count)]


@pytest.mark.parametrize("norm", NORMS.complete)
def test_the_plain_loops_channels_last_gives_its_own_rows(norm: str) -> None:
    run = runs_of(1, norm=norm)[0]
    data = in_double(prepare(run.cell))
    assert_equal(train_alone(run, data, CHANNELS_LAST), train_alone(run, data))


@pytest.mark.slow
@pytest.mark.parametrize("norm", ["none", "batch", "group"])
def test_the_compiled_plain_loop_gives_its_own_rows(norm: str) -> None:
    pytest.importorskip("torch._inductor")
    run = runs_of(1, norm=norm)[0]
    data = in_double(prepare(run.cell))
    assert_equal(train_alone(run, data, COMPILED), train_alone(run, data))


def test_a_variant_that_the_plain_loop_does_not_have_is_a_bug() -> None:
    run = runs_of(1, norm="none")[0]
    with pytest.raises(ValueError, match="no variant 'rows'"):
        train_alone(run, prepare(run.cell), "rows")


@pytest.mark.parametrize("norm", ["none", "batch", "weight", "weight-standardized"])
@pytest.mark.parametrize("variant", ["im2col", "grouped", "conv1=im2col,grouped", "block=2"])
@pytest.mark.parametrize("whole", [0, 1 << 22])
def test_every_formulation_gives_the_plain_loops_rows_with_momentum(
    norm: str, variant: str, whole: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows of windows are made piece by piece, or all at once."""
    monkeypatch.setattr("normbench.models.packed.pieces.WHOLE_BYTES", whole)
    runs = runs_of(
        3, norm=norm, optimizer={"name": "sgd", "momentum": 0.9}, budget_steps=12, evaluations=4
    )
    assert_as_alone(runs, variant)


def test_large_inputs_are_looked_up_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """And evaluations give the same."""
    runs = runs_of(2, norm="batch")
    data = in_double(prepare(runs[0].cell))
    assert PackedEngine(runs, data).chunk == EVALUATION_CHUNK
    expected = train_together(runs, data)
    monkeypatch.setattr("normbench.training.evaluate._INPUT_BYTES", 5 * 64 * 8)
    assert PackedEngine(runs, data).chunk == 5
    for found, other in zip(train_together(runs, data), expected, strict=True):
        assert_equal(found, other)


def test_gradients_may_be_computed_again_before_the_update() -> None:
    """Whoever looks at them twice changes nothing."""
    runs = runs_of(2, norm="batch")
    data = in_double(prepare(runs[0].cell))
    once, twice = PackedEngine(runs, data), PackedEngine(runs, data)
    index = torch.arange(8).view(2, 4)
    with torch.no_grad():
        for step in range(3):
            once.step(index + step, step)
            for i in (7, step):
                twice.begin(step)
                twice.gradients(index + i)
            twice.update(step)
    weights = slice(0, once.packed.decayed)
    assert torch.allclose(once.packed.flat[weights], twice.packed.flat[weights], atol=1e-12)


@pytest.mark.parametrize("schedule", list(SCHEDULES))
def test_every_schedule_gives_the_plain_loops_rows(schedule: str) -> None:
    assert_as_alone(runs_of(2, norm="layer", lr_schedule={"name": schedule, "warmup": 0.2}))


@pytest.mark.parametrize(
    "axes",
    [
        {"clip_norm": 0.5},
        {"norm_batch_size": 2},
        {"position": "post"},
        {"sites": ["conv2"]},
        {"init": "he"},
        {"model": {"name": "mlp", "width": 16}},
        {"model": {"name": "mlp", "width": 16}, "sites": "fc", "clip_norm": 1.0},
        {"batch_size": 1, "epochs": 1, "evaluations": 2},
    ],
)
def test_the_other_axes_give_the_plain_loops_rows(axes: dict[str, Any]) -> None:
    base = {k: v for k, v in BASE.items() if k != "budget_steps" or "epochs" not in axes}
    runs = [run_of(seed=seed, **(base | {"norm": "batch"} | axes)) for seed in range(3)]
    assert_as_alone(runs)


@pytest.mark.parametrize("norm", ["none", "batch", "layer"])
def test_alexnet_with_dropout_gives_the_plain_loops_rows(
    norm: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NORMBENCH_CACHE", str(tmp_path))
    axes = {
        "dataset": {"name": "pets", "items": 60, "resolution": 32},
        "model": {"name": "alexnet", "width": 0.125},
        "sites": "first-two",
        "budget_steps": 8,
        "evaluations": 2,
    }
    assert_as_alone(runs_of(2, norm=norm, **axes))


def test_photos_that_stay_bytes_give_the_same_rows(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NORMBENCH_CACHE", str(tmp_path))
    runs = runs_of(
        2, norm="layer", dataset={"name": "pets", "items": 60, "resolution": 32},
        model={"name": "alexnet", "width": 0.125}, budget_steps=4, evaluations=1,
    )  # fmt: skip
    whole = prepare(runs[0].cell)
    monkeypatch.setattr("normbench.training.data.SCALED_BYTES", 0)
    monkeypatch.setattr("normbench.training.data._cache", {})
    stored = prepare(runs[0].cell)
    assert stored.train.scaling is not None
    for found, expected in zip(
        train_together(runs, stored), train_together(runs, whole), strict=True
    ):
        assert_equal(found, expected, 1e-5)


def test_learning_rates_may_differ_within_a_group() -> None:
    runs = [
        run_of(seed=seed, **(BASE | {"norm": "batch", "learning_rate": rate}))
        for seed, rate in ((0, 0.1), (0, 0.01), (7, 0.001))
    ]
    assert_as_alone(runs)
    adam = {"name": "adamw", "weight_decay": 0.1}
    assert_as_alone([
        run_of(seed=0, **(BASE | {"norm": "layer", "optimizer": adam, "learning_rate": rate}))
        for rate in (0.01, 0.0001)
    ])  # fmt: skip


def test_a_run_that_diverges_neither_stops_nor_changes_the_others() -> None:
    wild = {"norm": "none", "learning_rate": 1e6}
    calm = {"norm": "none", "learning_rate": 0.01}
    runs = [run_of(seed=seed, **(BASE | axes)) for seed, axes in ((0, calm), (1, wild), (2, calm))]
    data = prepare(runs[0].cell)
    first, dead, last = train_together(runs, data)
    assert dead.status == "diverged"
    assert len(dead.epochs) < len(first.epochs)
    assert math.isnan(dead.epochs[-1]["val_loss"])
    assert (first.status, last.status) == ("finished", "finished")
    tame = [runs[0], replace(runs[1], cell=runs[0].cell), runs[2]]
    a, _, c = train_together(tame, data)
    for one, other in ((first, a), (last, c)):
        for row, expected in zip(one.epochs, other.epochs, strict=True):
            # two rates take another path through the update than one: equal up to rounding
            assert row["val_loss"] == pytest.approx(expected["val_loss"], rel=1e-4)


def test_a_group_in_which_all_diverge_ends_early() -> None:
    runs = runs_of(2, norm="none", learning_rate=1e6, evaluations=30)
    for outcome in train_together(runs, prepare(runs[0].cell)):
        assert outcome.status == "diverged"
        assert outcome.steps < 30


def test_a_repetition_has_the_same_bits() -> None:
    runs = runs_of(3, norm="batch")
    data = prepare(runs[0].cell)
    one, two = train_together(runs, data), train_together(runs, data)
    for a, b in zip(one, two, strict=True):
        for row, other in zip(a.epochs, b.epochs, strict=True):
            assert all(row[k] == other[k] for k in row.keys() - MEASURED if row[k] == row[k])


def test_seconds_are_amortised() -> None:
    runs = runs_of(4, norm="layer")
    found = train_together(runs, prepare(runs[0].cell))
    assert len({outcome.seconds for outcome in found}) == 1
    assert 0 < found[0].train_seconds + found[0].eval_seconds <= found[0].seconds


@pytest.mark.parametrize("model", [CNN, "mlp"])
def test_groups_of_a_size_are_those_of_the_plain_loop(model: Any) -> None:
    assert_as_alone(runs_of(2, norm={"name": "group", "group_size": 4}, model=model))
