"""Linear regressions: the trained curve is the predicted one, rates by curvature, the probes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from normbench.calibration.calibrate import calibrate
from normbench.calibration.tasks import Calibration
from normbench.errors import UsageError
from normbench.models.packed import UnsupportedError
from normbench.stats.quadratic import rule_of_thumb, squared_error
from normbench.training.check import check_cell
from normbench.training.curvature import rate_unit, training_loss
from normbench.training.data import Part, Prepared, prepare
from normbench.training.loop import Outcome
from normbench.training.packed import variants
from normbench.training.plain import PlainEngine
from normbench.training.probes.base import ProbeContext
from normbench.training.probes.linear import excess_loss, linear_weights, update_share
from tests.builders import cell, run_of
from tests.training.engines import train_alone, train_together

PROBES = ["excess-loss", "linear-weights", "update-share"]
AXES: dict[str, Any] = {
    "dataset": "houses", "model": "linear", "norm": "none", "batch_size": 300,
    "optimizer": {"name": "sgd", "momentum": 0.0}, "learning_rate": 1.0,
    "lr_scaling": "curvature", "budget_steps": 24, "evaluations": 24, "probes": PROBES,
}  # fmt: skip


def recorded(outcome: Outcome, probe: str, layer: str = "") -> np.ndarray:
    rows = [r for r in outcome.probes if r["probe"] == probe and r["layer"] == layer]
    return np.array([row["value"] for row in rows])


def weights(outcome: Outcome) -> np.ndarray:
    layers = dict.fromkeys(r["layer"] for r in outcome.probes if r["probe"] == "linear-weights")
    return np.stack([recorded(outcome, "linear-weights", layer) for layer in layers], axis=1)


@pytest.mark.parametrize("rate", [1.0, 1.8])
@pytest.mark.parametrize("input_norm", ["raw", "centred", "per-channel"])
@pytest.mark.parametrize("name", ["houses", "diabetes"])
def test_the_trained_curve_is_the_predicted_one(name: str, input_norm: str, rate: float) -> None:
    items = {"houses": 300, "diabetes": 266}[name]
    axes = AXES | {"dataset": name, "batch_size": items, "learning_rate": rate}
    run = run_of(3, input_norm=input_norm, **axes)
    data = prepare(run.cell)
    assert len(data.train) == items
    outcome = train_alone(run, data)
    loss, path = training_loss(data), weights(outcome)
    explained = float(data.train.y.double().var(correction=0)) - loss.least
    wanted = loss.curve(path[0], range(25), rate) / explained
    assert recorded(outcome, "excess-loss") == pytest.approx(wanted, rel=2e-3)
    assert recorded(outcome, "excess-loss", "start") == pytest.approx(wanted / wanted[0], rel=2e-3)
    size = np.abs(path).max()
    assert path == pytest.approx(loss.path(path[0], 24, rate), abs=1e-4 * size)
    for row, excess in zip(outcome.epochs, wanted, strict=True):
        least = loss.least + excess * explained
        assert row["train_eval_loss"] == pytest.approx(least, rel=2e-3)


def test_the_share_of_an_update_is_that_of_the_weights_change() -> None:
    outcome = train_alone(run_of(0, **AXES), prepare(cell(**AXES)))
    steps = np.diff(weights(outcome)[:, :2], axis=0) ** 2
    shares = np.stack([recorded(outcome, "update-share", f"x{i}") for i in (1, 2)], axis=1)
    assert shares.sum(axis=1) == pytest.approx(1)
    moving = steps.sum(axis=1) > 1e-9
    wanted = steps / steps.sum(axis=1, keepdims=True)
    assert shares[1:][moving] == pytest.approx(wanted[moving], abs=2e-3)
    assert shares[0] == pytest.approx(shares[1], abs=1e-5)  # the step before which it is asked


def test_raw_areas_take_the_first_step_for_themselves() -> None:
    shares = {}
    for input_norm in ("raw", "per-channel"):
        run = run_of(0, input_norm=input_norm, **AXES)
        shares[input_norm] = recorded(train_alone(run, prepare(run.cell)), "update-share", "x1")[0]
    assert shares["raw"] > 0.99
    assert shares["per-channel"] < 0.99


@pytest.mark.parametrize("input_norm", ["raw", "centred", "per-channel"])
@pytest.mark.parametrize("name", ["houses", "diabetes"])
def test_the_curvature_is_that_of_autograds_hessian(name: str, input_norm: str) -> None:
    run = run_of(0, **AXES | {"dataset": name, "batch_size": 200, "input_norm": input_norm})
    data = prepare(run.cell)
    engine = PlainEngine(run, data)
    x, y = data.train.x.flatten(1).double(), data.train.y.double()
    shape = (x.shape[1],)

    def loss(flat: Tensor) -> Tensor:
        return (x @ flat[: shape[0]] + flat[shape[0]] - y).square().mean()

    found = torch.autograd.functional.hessian(loss, torch.zeros(shape[0] + 1, dtype=torch.float64))
    largest = float(torch.linalg.eigvalsh(found)[-1])
    assert training_loss(data).hessian == pytest.approx(found.numpy(), rel=1e-6, abs=1e-9 * largest)
    assert rate_unit(run.cell, data) == pytest.approx(1 / largest)
    assert engine.rates[0].at(0) == pytest.approx(1 / largest)


def test_probes_change_nothing_in_training() -> None:
    plain, probed = (run_of(2, **AXES | {"probes": names}) for names in ([], PROBES))
    data = prepare(plain.cell)
    one, two = (
        [{k: v for k, v in row.items() if not k.endswith("seconds")} for row in rows]
        for rows in (train_alone(plain, data).epochs, train_alone(probed, data).epochs)
    )
    assert repr(one) == repr(two)


def test_a_mini_batch_is_scaled_by_the_curvature_of_all_items() -> None:
    whole, part = (cell(**AXES | {"batch_size": size}) for size in (300, 30))
    assert rate_unit(whole, prepare(whole)) == rate_unit(part, prepare(part))


@pytest.mark.parametrize(
    ("axes", "said"),
    [
        ({"model": "mlp"}, "the model mlp on houses"),
        ({"dataset": "digits", "batch_size": 32}, "digits (classification)"),
        ({"norm": "batch", "lr_scaling": "none"}, "the model linear has no site"),
        ({"batch_size": 301}, "must not exceed the training split (300 items"),
    ],
)
def test_what_has_no_meaning_is_refused_before_training(axes: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        check_cell(cell(**AXES | axes))
    assert said in str(caught.value)


def test_regressions_have_no_packed_form_and_are_stacked() -> None:
    run = run_of(0, **AXES)
    data = prepare(run.cell)
    with pytest.raises(UnsupportedError, match="regression"):
        variants(run.cell, data, "cpu")
    with pytest.raises(UnsupportedError, match="regression"):
        train_together([run, run_of(1, **AXES)], data)
    for mode in ("packed", "auto"):
        found = calibrate(Calibration("", run, 20, 20, "cpu", 1, mode))
        assert {one.engine.name for one in found.measured} == {"plain", "stacked"}


def test_probes_give_nothing_for_other_models() -> None:
    net = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.ReLU(), torch.nn.Linear(3, 1))
    several = torch.nn.Sequential(torch.nn.Linear(2, 3))
    batch = (torch.ones(4, 2), torch.ones(4))
    for model in (net, several):
        context = ProbeContext(model, torch.nn.functional.mse_loss, (batch,), 0.1, 0.0, 0.0, None)
        assert not [*excess_loss(context), *linear_weights(context), *update_share(context)]


# -- the slow suite ----------------------------------------------------------------------------


def conditioned(condition: float, start: np.ndarray, angle: float) -> tuple[np.ndarray, np.ndarray]:
    """A problem of that condition number whose error at ``start`` lies along the flattest way.

    Two uncorrelated features without a mean, turned by ``angle``: the bias's curvature lies
    between those of the features.
    """
    t = 2 * np.pi * np.arange(64) / 64
    apart = np.sqrt(2) * np.stack([np.cos(t), np.sin(t)], axis=1)
    c, s = np.cos(angle), np.sin(angle)
    x = (apart * [condition**0.25, condition**-0.25]) @ np.array([[c, s], [-s, c]])
    loss = squared_error(x, np.zeros(len(x)))
    minimum = start + np.linalg.eigh(loss.hessian)[1][:, 0]
    return x, x @ minimum[:2] + minimum[2]


@pytest.mark.slow
@pytest.mark.parametrize("tolerance", [0.1, 1e-3])
@pytest.mark.parametrize("condition", [10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0])
def test_steps_to_tolerance_follow_the_condition_number(condition: float, tolerance: float) -> None:
    expected = rule_of_thumb(condition, tolerance)
    axes = AXES | {"batch_size": 64, "budget_steps": int(1.3 * expected) + 3, "evaluations": 200}
    run = run_of(1, **axes)
    layer = PlainEngine(run, prepare(run.cell)).model.parts["linear"]  # drawn without seeing data
    start = torch.cat([layer.weight[0], layer.bias]).detach().double().numpy()
    x, y = conditioned(condition, start, 0.6)
    assert squared_error(x, y).condition == pytest.approx(condition)
    inputs = torch.from_numpy(x)[:, :, None, None]
    part = Part(inputs, torch.from_numpy(y))  # in float64: only the mathematics is judged
    outcome = train_alone(run, Prepared(part, part, part, 1, "regression", 0.1))
    steps = np.array([row["step"] for row in outcome.epochs])
    excess = recorded(outcome, "excess-loss", "start")
    reached = steps[excess <= tolerance][0]
    before = steps[excess > tolerance][-1]
    assert 0.9 * expected <= reached
    assert before <= 1.1 * expected
