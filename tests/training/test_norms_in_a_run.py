"""Norms that change in the course of a run, and residual nets, through the plain loop."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from normbench.calibration.calibrate import calibrate
from normbench.calibration.tasks import Calibration
from normbench.calibration.timing import TimingTask, time_cells
from normbench.training.data import prepare
from normbench.training.evaluate import PlainEvaluator, evaluate
from normbench.training.plain import PlainEngine
from tests.builders import run_of

RESNET = {"name": "resnet", "width": 4}


def frozen(after: float, **more: Any) -> dict[str, Any]:
    return {"name": "batch-frozen", "after": after, **more}


def losses(found: Any) -> list[float]:
    return [row["train_loss"] for row in found.epochs[1:]]


def test_frozen_norm_trains_as_batch_norm_until_it_freezes(trained: Any) -> None:
    axes = {"epochs": 2, "evaluations": 4}
    batch = losses(trained(norm="batch", **axes))
    assert losses(trained(norm=frozen(1.0), **axes)) == batch
    half = losses(trained(norm=frozen(0.5), **axes))
    assert half[:2] == batch[:2]
    assert half[2] != batch[2]


def test_frozen_as_born_it_is_no_normalization(trained: Any) -> None:
    bare = trained(norm=frozen(0.0, affine=False, eps=1e-12))
    assert losses(bare) == pytest.approx(losses(trained(norm="none")), rel=1e-5)


def test_renorm_trains_as_batch_norm_while_it_is_plain(trained: Any) -> None:
    axes = {"epochs": 2, "evaluations": 4}
    batch = losses(trained(norm="batch", **axes))
    plain = losses(trained(norm={"name": "batch-renorm", "plain": 1.0}, **axes))
    assert plain == pytest.approx(batch, rel=1e-5)
    half = {"name": "batch-renorm", "plain": 0.5, "r_by": 0.5, "d_by": 0.5}
    found = losses(trained(norm=half, **axes))
    assert found[:2] == pytest.approx(batch[:2], rel=1e-5)
    assert abs(found[2] - batch[2]) > 1e-3


@pytest.mark.parametrize("norm", ["batch-renorm", "batch-frozen"])
def test_all_kinds_of_evaluation(trained: Any, norm: str) -> None:
    found = trained(norm=norm, epochs=2)
    assert set(found.predictions) == {"running", "recomputed", "batch"}
    last = found.epochs[-1]
    kinds = [last[f"val_{k}loss"] for k in ("", "recomputed_", "batch_")]
    assert all(math.isfinite(loss) for loss in kinds)
    assert len(set(kinds)) == (1 if norm == "batch-frozen" else 3)


@pytest.mark.parametrize("norm", ["batch-renorm", "batch-frozen"])
def test_evaluating_changes_nothing_in_the_middle_of_a_run(norm: str) -> None:
    run = run_of(norm=norm)
    data = prepare(run.cell)
    engine = PlainEngine(run, data)
    for step in range(4):
        engine.step(torch.arange(8)[None] + step, step)
    before = {k: v.clone() for k, v in engine.model.state_dict().items()}
    evaluate(PlainEvaluator(engine.model), data, 8, 24)
    assert all(torch.equal(before[k], v) for k, v in engine.model.state_dict().items())


@pytest.mark.parametrize("norm", ["none", "batch", "weight-standardized"])
def test_a_residual_net_learns(trained: Any, norm: str) -> None:
    data = {"name": "digits", "items": 300}
    model = {"name": "resnet", "width": 8}  # channels that eight groups divide
    found = trained(model=model, norm=norm, epochs=3, learning_rate=0.02, dataset=data)
    assert found.status == "finished"
    assert losses(found)[-1] < losses(found)[0]
    kinds = {"running", "recomputed", "batch"} if norm == "batch" else {"running"}
    assert set(found.predictions) == kinds


def test_a_residual_net_is_calibrated_as_a_plain_and_a_stacked_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # else a machine on which a trial of stacking takes more than a second would leave it out
    monkeypatch.setattr("normbench.calibration.candidates._TRIAL_STEPS", 0)
    run = run_of(model=RESNET, norm="layer")
    found = calibrate(Calibration("", run, 4, 4, "cpu", 1, "auto"))
    assert {one.engine.name for one in found.measured} == {"plain", "stacked"}


def test_a_residual_net_is_timed() -> None:
    runs = tuple(run_of(model=RESNET, norm=norm) for norm in ("batch", "batch-renorm"))
    rows = time_cells(TimingTask(runs, "cpu", 1, 0.1))
    assert {row["cell_hash"] for row in rows} == {run.cell_hash for run in runs}
    assert all(row["step_seconds"] > 0 and row["memory"] > 0 for row in rows)
