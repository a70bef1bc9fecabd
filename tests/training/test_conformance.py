"""Each norm, model and optimizer trains alike together and alone, or says that it needs the loop.

In float64, over 30 steps, for one, three and eight runs: the rows of every evaluation, predictions,
and parameters and buffers at the end (to 1e-9). Stacked runs take fewer steps: there are more of
them, since the residual nets and what no packed form has are among them.
"""

from __future__ import annotations

from typing import Any

import pytest

from normbench.catalog import MODELS, NORMS, OPTIMIZERS
from normbench.errors import UndefinedError, UsageError
from normbench.models.describe import network
from normbench.models.packed.choose import pack
from normbench.models.packed.graph import UnsupportedError
from normbench.models.plain import build
from normbench.plan.spec import RunSpec
from normbench.training.stacked import StackedEngine
from tests.builders import cell, run_of
from tests.training.engines import assert_as_alone

STEPS = {"budget_steps": 30, "evaluations": 3, "statistics_samples": 20, "batch_size": 4}
ROWS: dict[str, Any] = {
    "dataset": {"name": "digits-rows", "items": 100}, "norm_group": {"name": "group", "groups": 2},
    "learning_rate": 0.003, "optimizer": "adam",
}  # fmt: skip
#: Every model of the catalogue, small, on data it is made for; but no group has two values alone,
#: which a norm makes 1 and -1 whatever they are, and blows rounding up.
AXES: dict[str, dict[str, Any]] = {
    "mlp": {"model": {"name": "mlp", "width": 64}},
    "linear": {"model": "linear"},
    "small-cnn": {"model": {"name": "small-cnn", "width": 8}},
    "resnet": {"model": {"name": "resnet", "width": 8}},
    "alexnet": {
        "model": {"name": "alexnet", "width": 0.125}, "sites": "first-two", "learning_rate": 0.01,
        "dataset": {"name": "pets", "items": 60, "resolution": 32}, "evaluations": 2,
    },
    "lstm": ROWS | {"model": {"name": "lstm", "hidden": 8}},
    "gru": ROWS | {"model": {"name": "gru", "hidden": 8}},
    "rnn": ROWS | {"model": {"name": "rnn", "hidden": 8}},
    "transformer": {"model": {"name": "transformer", "width": 16, "depth": 1, "qk": True},
                    "norm_group": {"name": "group", "groups": 2}},
}  # fmt: skip
#: The shape of a sample, where it is not that of the digits.
SHAPES = {"alexnet": (3, 32, 32), "lstm": (8, 8), "gru": (8, 8), "rnn": (8, 8)}
#: The norms that have no meaning in a model, and those for which it needs the plain loop.
_IN_RECURRENT = {"instance", "weight", "batch-renorm", "batch-frozen", "weight-standardized"}
_ALONE_IN_RECURRENT = {"lrn", "layer-channels", "rms", "dyt", "derf"}
RECURRENT = ("lstm", "gru", "rnn")
UNDEFINED: dict[str, set[str]] = {
    "mlp": {"instance"},
    "linear": set(NORMS.complete) - {"none"},
    **dict.fromkeys(RECURRENT, _IN_RECURRENT),
    "transformer": {"instance", "weight", "weight-standardized"},
}
ALONE: dict[str, set[str]] = {
    **{model: {"lrn", "derf"} for model in ("mlp", "small-cnn", "alexnet")},
    "resnet": set(NORMS.complete),
    "transformer": set(NORMS.complete) - UNDEFINED["transformer"],
    **dict.fromkeys(RECURRENT, _ALONE_IN_RECURRENT),
}


def axes_of(model: str, norm: str) -> dict[str, Any]:
    axes = dict(STEPS | AXES[model])
    grouped = axes.pop("norm_group", "group")
    return axes | {"norm": grouped if norm == "group" else norm}


def runs_of(count: int, model: str, norm: str, **more: Any) -> list[RunSpec]:
    return [run_of(seed=seed, **(axes_of(model, norm) | more)) for seed in range(count)]


def pairs(table: dict[str, set[str]]) -> list[tuple[str, str]]:
    return [
        (model, norm) for model in MODELS for norm in NORMS.complete if norm in table.get(model, ())
    ]


def together() -> list[tuple[str, str]]:
    excepted = {*pairs(UNDEFINED), *pairs(ALONE)}
    return [(m, n) for m in MODELS.complete for n in NORMS.complete if (m, n) not in excepted]


@pytest.mark.parametrize("width", [1, 3, 8])
@pytest.mark.parametrize(("model", "norm"), together())
def test_every_norm_and_model_train_together_as_alone(
    model: str, norm: str, width: int, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NORMBENCH_CACHE", str(tmp_path))
    assert_as_alone(runs_of(width, model, norm))


#: Every optimizer and norm at the width of three runs, and some of them at others.
SHORT: dict[str, Any] = {"budget_steps": 4, "evaluations": 1, "statistics_samples": 8}
QUICK: dict[str, dict[str, Any]] = {
    "resnet": {"model": {"name": "resnet", "width": 4}},
    "alexnet": {"model": {"name": "alexnet", "width": 0.0625}},
}
FEWER: dict[str, dict[str, Any]] = {
    "group": {"norm": {"name": "group", "groups": 2}},
    "weight-standardized": {"norm": {"name": "weight-standardized", "groups": 2}},
}
OTHER_WIDTHS = [
    ("mlp", "batch"), ("small-cnn", "batch"), ("small-cnn", "weight"), ("resnet", "layer"),
    ("lstm", "batch"), ("linear", "none"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("model", "norm", "width"),
    [
        *(
            (m, n, 3)
            for m in MODELS.complete
            for n in NORMS.complete
            if n not in UNDEFINED.get(m, ())
        ),
        *((m, n, width) for m, n in OTHER_WIDTHS for width in (1, 8)),
    ],
)
def test_every_norm_and_model_are_stacked_as_alone(
    model: str, norm: str, width: int, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NORMBENCH_CACHE", str(tmp_path))
    fewer = FEWER.get(norm, {}) if model in QUICK else {}
    axes = axes_of(model, norm) | SHORT | QUICK.get(model, {}) | fewer
    assert_as_alone([run_of(seed, **axes) for seed in range(width)], make=StackedEngine)


@pytest.mark.parametrize(("model", "norm"), pairs(ALONE))
def test_what_needs_the_plain_loop_says_so(model: str, norm: str) -> None:
    net = network(cell(**axes_of(model, norm)), SHAPES.get(model, (1, 8, 8)), 10)
    build(net)  # it has a meaning
    with pytest.raises(UnsupportedError):
        pack(net, 2)


@pytest.mark.parametrize(("model", "norm"), pairs(UNDEFINED))
def test_what_has_no_meaning_is_refused_by_both(model: str, norm: str) -> None:
    shape_and_classes = (SHAPES.get(model, (1, 8, 8)), 10)
    for engine in (build, lambda net: pack(net, 2)):
        with pytest.raises((UndefinedError, UsageError, UnsupportedError)):
            engine(network(cell(**axes_of(model, norm)), *shape_and_classes))


def test_a_regression_needs_the_plain_loop() -> None:
    net = network(cell(**axes_of("linear", "none")), (2,), 1)
    with pytest.raises(UnsupportedError, match="this is a regression"):
        pack(net, 2, task="regression")


#: Every optimizer, with each of its parameters.
OPTIMIZED: list[dict[str, Any]] = [
    {"name": "sgd", "momentum": 0.0},
    {"name": "sgd", "momentum": 0.9},
    {"name": "sgd", "nesterov": True, "weight_decay": 0.01},
    {"name": "sgd", "weight_decay": 0.01, "decay_norms": True},
    {"name": "adam", "weight_decay": 0.1, "beta1": 0.8, "beta2": 0.9, "eps": 1e-6},
    {"name": "adam", "weight_decay": 0.1, "decay_norms": True},
    {"name": "adamw"},
    {"name": "adamw", "weight_decay": 0.1, "decay_norms": True, "beta1": 0.8, "beta2": 0.9},
    {"name": "adamw", "eps": 1e-6},
]


@pytest.mark.parametrize("width", [1, 3, 8])
@pytest.mark.parametrize("optimizer", OPTIMIZED, ids=str)
def test_every_optimizer_trains_together_as_alone(optimizer: dict[str, Any], width: int) -> None:
    axes = {"optimizer": optimizer, "learning_rate": 0.003}
    assert_as_alone(runs_of(width, "small-cnn", "batch", **axes))


@pytest.mark.parametrize("optimizer", OPTIMIZED, ids=str)
def test_every_optimizer_trains_stacked_runs_as_alone(optimizer: dict[str, Any]) -> None:
    axes = SHORT | {"optimizer": optimizer, "learning_rate": 0.003}
    assert_as_alone(runs_of(3, "mlp", "batch", **axes), make=StackedEngine)


def test_no_optimizer_is_left_out() -> None:
    assert {one["name"] for one in OPTIMIZED} == set(OPTIMIZERS)
    for name in OPTIMIZERS:
        given = {key for one in OPTIMIZED if one["name"] == name for key in one}
        assert given - {"name"} == set(OPTIMIZERS[name].params), name
