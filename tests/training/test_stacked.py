"""Stacked runs, made of any module, give what the plain engine gives for each on its own."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from normbench.catalog import SCHEDULES
from normbench.plan.spec import RunSpec
from normbench.training.data import prepare
from normbench.training.evaluate import evaluate
from normbench.training.loop import train
from normbench.training.plain import PlainEngine
from normbench.training.stacked import StackedEngine
from tests.builders import run_of
from tests.training.engines import MEASURED, assert_as_alone, in_double, train_alone
from tests.training.foreign import foreign_runs

#: Steps that cross the end of an epoch, on a net that is quick.
BASE: dict[str, Any] = {
    "model": {"name": "small-cnn", "width": 4}, "batch_size": 6, "budget_steps": 12,
    "evaluations": 2, "statistics_samples": 20, "learning_rate": 0.05,
}  # fmt: skip


def runs_of(count: int, **axes: Any) -> list[RunSpec]:
    return [run_of(seed=seed, **(BASE | axes)) for seed in range(count)]


@pytest.mark.parametrize(
    "axes",
    [
        {"clip_norm": 0.1},
        {"clip_norm": 0.5, "optimizer": "adam", "learning_rate": 0.003},
        {"norm_batch_size": 2},
        {"norm_batch_size": 3, "norm": "batch-renorm"},
        {"norm_batch_size": 3, "norm": "batch-frozen"},
        {"position": "post"},
        {"sites": ["conv2"]},
        {"init": "he"},
        {"norm": {"name": "batch", "affine": False, "momentum": 0.3}},
        {"norm": {"name": "batch-renorm", "plain": 0.2, "r_by": 0.5, "d_by": 0.5}},
        {"norm": {"name": "batch-frozen", "after": 0.5}},
        {"model": {"name": "resnet", "width": 4, "zero_init": True}, "budget_steps": 3},
        {"batch_size": 1, "norm": "batch"},
        {
            "model": {"name": "lstm", "hidden": 4}, "norm_batch_size": 3, "budget_steps": 4,
            "norm": {"name": "batch", "time": "pooled"}, "sites": ["cell"],
            "dataset": {"name": "adding", "items": 60, "length": 4, "test_length": 7},
        },
    ],
    ids=str,
)  # fmt: skip
def test_the_other_axes_give_the_plain_engines_rows(axes: dict[str, Any]) -> None:
    assert_as_alone(runs_of(3, **({"norm": "batch"} | axes)), make=StackedEngine)


@pytest.mark.parametrize("schedule", list(SCHEDULES))
def test_every_schedule_gives_the_plain_engines_rows(schedule: str) -> None:
    runs = runs_of(2, norm="layer", lr_schedule={"name": schedule, "warmup": 0.2})
    assert_as_alone(runs, make=StackedEngine)


@pytest.mark.parametrize("norm", ["none", "batch"])
def test_dropout_masks_are_those_of_the_plain_engine(
    norm: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each member's own, of both layers, over several steps."""
    monkeypatch.setenv("NORMBENCH_CACHE", str(tmp_path))
    axes = {
        "dataset": {"name": "pets", "items": 60, "resolution": 32},
        "model": {"name": "alexnet", "width": 0.0625, "dropout": 0.3}, "sites": "first-two",
        "budget_steps": 4, "evaluations": 1,
    }  # fmt: skip
    assert_as_alone(runs_of(2, norm=norm, **axes), make=StackedEngine)


@pytest.mark.parametrize("scaling", ["none", "curvature"])
def test_a_regression_gives_the_plain_engines_rows(scaling: str) -> None:
    axes = {
        "dataset": "houses", "model": "linear", "norm": "none", "batch_size": 100,
        "optimizer": {"name": "sgd", "momentum": 0.0}, "lr_scaling": scaling,
    }  # fmt: skip
    assert_as_alone(runs_of(3, **axes), make=StackedEngine)


def test_learning_rates_may_differ_within_a_group() -> None:
    for norm, optimizer, rates in (
        ("batch", "sgd", (0.1, 0.01, 0.001)),
        ("layer", {"name": "adamw", "weight_decay": 0.1}, (0.01, 0.0001)),
    ):
        axes = BASE | {"norm": norm, "optimizer": optimizer, "lr_schedule": "cosine"}
        runs = [run_of(seed % 2, **(axes | {"learning_rate": r})) for seed, r in enumerate(rates)]
        assert_as_alone(runs, make=StackedEngine)


def test_a_run_that_diverges_neither_stops_nor_changes_the_others() -> None:
    """With w ← −10⁷·w at each step, what three layers give is beyond float64 after fifteen."""
    decay = {"optimizer": {"name": "sgd", "weight_decay": 10.0}, "norm": "none"}
    decay |= {"budget_steps": 24, "evaluations": 4}
    calm, wild = (decay | {"learning_rate": rate} for rate in (0.01, 1e6))
    runs = [run_of(seed=seed, **(BASE | axes)) for seed, axes in ((0, calm), (1, wild), (2, calm))]
    data = in_double(prepare(runs[0].cell))
    first, dead, last = train(StackedEngine(runs, data))
    assert dead.status == "diverged"
    assert len(dead.epochs) < len(first.epochs)
    assert math.isnan(dead.epochs[-1]["val_loss"])
    assert (first.status, last.status) == ("finished", "finished")
    for found, run in ((first, runs[0]), (last, runs[2])):
        for row, expected in zip(found.epochs, train_alone(run, data).epochs, strict=True):
            for key in row.keys() - MEASURED:
                assert row[key] == pytest.approx(expected[key], rel=1e-9, abs=1e-9), key


def test_members_do_not_reach_each_other() -> None:
    """A member's bits are the same whoever the others are, and wherever it stands."""
    runs = runs_of(3, norm="batch", clip_norm=0.1)
    data = prepare(runs[0].cell)
    other = replace(runs[1], seed=17)
    for found, at in (([runs[0], other, runs[2]], 0), ([runs[0], other, runs[2]], 2)):
        whole, changed = train(StackedEngine(runs, data)), train(StackedEngine(found, data))
        for row, expected in zip(changed[at].epochs, whole[at].epochs, strict=True):
            assert {k: v for k, v in row.items() if k not in MEASURED} == {
                k: v for k, v in expected.items() if k not in MEASURED
            }
        assert changed[1].epochs[-1]["val_loss"] != whole[1].epochs[-1]["val_loss"]


def test_a_repetition_has_the_same_bits_and_draws_from_nobody() -> None:
    runs = runs_of(3, norm="batch")
    data, generator = prepare(runs[0].cell), torch.get_rng_state()
    one, two = (train(StackedEngine(runs, data)) for _ in range(2))
    for a, b in zip(one, two, strict=True):
        for row, other in zip(a.epochs, b.epochs, strict=True):
            assert all(row[k] == other[k] for k in row.keys() - MEASURED if row[k] == row[k])
    assert torch.equal(torch.get_rng_state(), generator)
    assert len({outcome.seconds for outcome in one}) == 1  # amortised


def test_probes_see_the_same_networks() -> None:
    runs = runs_of(
        2, norm="batch", probes=["weights", "landscape", "covariate-shift", "drift", "activations"],
        budget_steps=4, evaluations=2, batch_size=20,
    )  # fmt: skip
    data = in_double(prepare(runs[0].cell))
    for found, run in zip(train(StackedEngine(runs, data)), runs, strict=True):
        expected = train_alone(run, data)
        assert len(found.probes) > 90
        for row, other in zip(found.probes, expected.probes, strict=True):
            assert [row[k] for k in ("probe", "layer", "step", "epoch")] == [
                other[k] for k in ("probe", "layer", "step", "epoch")
            ]
            assert row["value"] == pytest.approx(other["value"], rel=1e-6, abs=1e-9), row


@pytest.mark.parametrize("norm", ["frn", "remembering"])
def test_a_module_of_another_package_gives_the_plain_engines_rows(
    norm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its parameters, buffers (among them an integer) and evaluations are the plain module's."""
    axes = BASE | {"budget_steps": 4, "evaluations": 1}
    assert_as_alone(foreign_runs(monkeypatch, norm, 3, **axes), make=StackedEngine)


# -- evaluation --------------------------------------------------------------------------------


@pytest.mark.parametrize("norm", ["batch", "batch-renorm", "batch-frozen", "layer"])
@pytest.mark.parametrize("least", [1, 1000])
def test_all_kinds_of_evaluation_are_those_of_each_plain_module(
    norm: str, least: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether samples go through in small pieces or all at once."""
    monkeypatch.setattr("normbench.training.stacked_function._EVALUATED", 1)
    monkeypatch.setattr("normbench.training.stacked_function._LEAST_EVALUATED", least)
    runs = runs_of(3, norm=norm)
    data = in_double(prepare(runs[0].cell))
    engine, plain = StackedEngine(runs, data), [PlainEngine(run, data) for run in runs]
    for step in range(3):
        index = torch.arange(18).view(3, 6) + step
        engine.step(index, step)
        for member, one in enumerate(plain):
            one.step(index[member][None], step)
    kinds = {"running"} if norm == "layer" else {"running", "batch", "recomputed"}
    for batch, samples in ((6, 20), (7, 60), (1, 5)):
        found = evaluate(engine.evaluator, data, batch, samples)
        for member, one in enumerate(plain):
            (expected,) = evaluate(one.evaluator, data, batch, samples)
            assert found[member].train.loss == pytest.approx(expected.train.loss, rel=1e-9)
            for part in ("validation", "test"):
                own, wanted = getattr(found[member], part), getattr(expected, part)
                assert own.keys() == wanted.keys() == kinds
                for kind in kinds:
                    # a batch of one linear map makes infinite variances, which are equal too
                    assert own[kind].loss == pytest.approx(
                        wanted[kind].loss, rel=1e-9, nan_ok=True
                    ), (kind, batch)
                    assert np.array_equal(own[kind].correct, wanted[kind].correct)


def test_evaluating_in_between_changes_nothing() -> None:
    runs = runs_of(2, norm="batch")
    data = in_double(prepare(runs[0].cell))
    one, undisturbed = StackedEngine(runs, data), StackedEngine(runs, data)
    for step in range(3):
        index = torch.arange(12).view(2, 6) + step
        one.evaluate()
        one.begin(step)
        one.gradients(index)
        one.evaluate()  # and the gradients wait
        one.export(1)
        one.update(step)
        undisturbed.step(index, step)
    for member in range(2):
        wanted = {k: v.clone() for k, v in undisturbed.export(member).state_dict().items()}
        for name, value in one.export(member).state_dict().items():
            assert torch.equal(value, wanted[name]), name
    assert one.module.training
