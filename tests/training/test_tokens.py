"""Training on tokens: losses and hits per token, and the same numbers by every engine."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from normbench.calibration.trial import why_not_stacked
from normbench.datasets.base import Arrays
from normbench.datasets.sound import check_arrays
from normbench.datasets.split import strata_of
from normbench.errors import UsageError
from normbench.plan.spec import RunSpec
from normbench.training.check import check_cell
from normbench.training.data import forget_data, prepare
from normbench.training.group import train_group
from normbench.training.loop import train
from normbench.training.plain import PlainEngine
from normbench.training.stacked import StackedEngine
from normbench.training.tasks import Group
from tests import letters
from tests.builders import cell, run_of
from tests.training.engines import assert_as_alone, in_double

BASE: dict[str, Any] = {
    "dataset": letters.NAME, "batch_size": 6, "budget_steps": 6, "evaluations": 2,
    "statistics_samples": 20, "optimizer": "adamw", "learning_rate": 0.003,
    "model": {"name": "transformer", "width": 8, "depth": 1, "heads": 2},
}  # fmt: skip
DIGITS = {"dataset": {"name": "digits", "items": 100}}
ROWS = {"dataset": {"name": "digits-rows", "items": 100}}


@pytest.fixture(autouse=True)
def _letters(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    letters.register(monkeypatch)
    forget_data()
    yield
    forget_data()


def runs_of(count: int, **axes: Any) -> list[RunSpec]:
    axes = BASE | axes | {"model": BASE["model"] | axes.get("model", {})}
    return [run_of(seed=seed, **axes) for seed in range(count)]


@pytest.mark.parametrize(
    "axes",
    [
        {"norm": "layer"},
        {"norm": "rms", "model": {"placement": "post"}},
        {"norm": "derf", "model": {"placement": "sandwich", "qk": True}},
        {"norm": "dyt", "model": {"depth": 2}, "accumulate": 2, "ema": 0.9},
        {"norm": "none", "clip_norm": 0.5},
        {"norm": "batch", "model": {"qk": True}},
        {"norm": "batch", "norm_batch_size": 3},
        {"norm": "batch-renorm", "model": {"placement": "post"}, "optimizer": "sgd"},
        {"norm": {"name": "group", "groups": 2}, **DIGITS},
        {"norm": "batch", **DIGITS},
        {"norm": "layer", **ROWS},
    ],
    ids=str,
)
def test_the_stacked_engine_gives_the_plain_engines_rows(axes: dict[str, Any]) -> None:
    runs = runs_of(2, **axes)
    assert why_not_stacked(runs[0], prepare(runs[0].cell)) == ""
    assert_as_alone(runs, make=StackedEngine)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_in_16_bits_it_is_near(precision: str) -> None:
    short, whole = runs_of(1, norm="layer", precision=precision), runs_of(1, norm="layer")
    assert why_not_stacked(short[0], prepare(short[0].cell)) == ""
    (found,), (wanted,) = (
        train(PlainEngine(runs[0], prepare(runs[0].cell))) for runs in (short, whole)
    )
    last, other = found.epochs[-1]["val_loss"], wanted.epochs[-1]["val_loss"]
    assert last == pytest.approx(other, rel=0.02)
    assert last != other


def test_losses_and_hits_are_per_token() -> None:
    (run,) = runs_of(1, norm="layer")
    data = in_double(prepare(run.cell))
    assert (data.shape, data.classes) == ((12,), 7)
    engine = PlainEngine(run, data)
    index = torch.arange(6)[None]
    loss, outputs, labels = engine.gradients(index)
    assert outputs.shape == (1, 6, 12, 7)
    y = data.train.y[:6]
    assert torch.equal(labels[0], y)
    wanted = functional.cross_entropy(outputs[0].reshape(-1, 7), y.reshape(-1))
    assert float(loss) == pytest.approx(float(wanted), rel=1e-12)
    engine.update(0)
    (found,) = engine.evaluate()
    with torch.no_grad():
        test = engine.model.eval()(data.test.x)
    mean = functional.cross_entropy(test.reshape(-1, 7), data.test.y.reshape(-1))
    hits = (test.argmax(-1) == data.test.y).reshape(-1)
    score = found.test["running"]
    assert score.loss == pytest.approx(float(mean), rel=1e-12)
    assert score.accuracy == pytest.approx(float(hits.double().mean()))
    assert np.array_equal(score.correct, hits.numpy())


def test_rows_of_a_run_are_what_they_say_and_it_learns() -> None:
    (run,) = runs_of(1, norm="layer", budget_steps=400, evaluations=2, learning_rate=0.01)
    rows = train_group(Group("g", (run,), "cpu", "x"))
    (row,), last = rows.runs, rows.epochs[-1]
    assert (row["status"], row["classes"], row["samples"]) == ("finished", 7, 2400)
    assert rows.epochs[0]["val_loss"] == pytest.approx(math.log(7), rel=0.2)
    assert last["val_loss"] < 1.75
    assert 0.3 < last["train_accuracy"] <= 1
    (bits,) = [one["correct"] for one in rows.predictions]
    assert len(bits) == 16 * 12
    assert np.mean(bits) == pytest.approx(last["test_accuracy"])


@pytest.mark.parametrize("probes", [["weights", "landscape", "curvature", "max-step"], "all"])
def test_probes_look_at_it(probes: Any) -> None:
    """None fails; those that look for channels of images may have nothing to say."""
    (run,) = runs_of(1, norm="layer", probes=probes, budget_steps=2, evaluations=1)
    (outcome,) = train(PlainEngine(run, prepare(run.cell)))
    assert (outcome.status, outcome.error) == ("finished", None)
    assert {"weight-norm", "loss-variation", "curvature"} <= {r["probe"] for r in outcome.probes}


def test_tokens_are_for_models_that_take_them_and_are_never_scaled() -> None:
    with pytest.raises(UsageError, match="the model mlp takes none: use the model transformer"):
        check_cell(cell(**(BASE | {"model": "mlp", "norm": "layer"})))
    for axes in ({"input_norm": "raw"}, {"input_units": "byte"}):
        with pytest.raises(UsageError, match="has no meaning for tokens"):
            check_cell(cell(**(BASE | {"norm": "layer"} | axes)))
    assert check_cell(cell(**(BASE | {"norm": "layer"}))) is None
    x = prepare(cell(**(BASE | {"norm": "layer"}))).train.x
    assert x.dtype == torch.float32
    assert set(x.unique().tolist()) <= set(range(7))


def test_a_data_set_of_tokens_is_checked() -> None:
    good = letters.LETTERS.load({})
    check_arrays(good)
    assert strata_of(good.labels, "classification").tolist() == [0] * len(good.labels)
    bad: list[tuple[Arrays, str]] = [
        (replace(good, inputs=good.inputs + 3), "tokens are whole numbers from 0 to 6"),
        (replace(good, labels=good.labels[:, :5]), "labels have the shape"),
        (replace(good, inputs=good.inputs.astype(np.float32)), "labels have the shape"),
        (replace(good, labels=good.labels - 1), "labels of 7 classes are whole numbers"),
    ]
    for arrays, said in bad:
        with pytest.raises(UsageError, match=said):
            check_arrays(arrays)
