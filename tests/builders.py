"""Small protocols, cells and runs for the tests of protocol, plan, norms, models and training."""

from __future__ import annotations

from typing import Any

from normbench.plan.expand import expand
from normbench.plan.spec import RunSpec
from normbench.protocol.load import parse
from normbench.protocol.schema import Cell
from normbench.protocol.study import Study

#: Every axis that has no default, as small as it makes sense.
SMALL: dict[str, Any] = {
    "dataset": {"name": "digits", "items": 100},
    "model": {"name": "mlp", "width": 16},
    "norm": "batch",
    "batch_size": 8,
    "learning_rate": 0.05,
    "epochs": 1,
}


def experiment(name: str = "one", **settings: Any) -> dict[str, Any]:
    """A table ``[[experiment]]``: the small axes unless set, or set in ``product`` or ``zip``."""
    combined = {**settings.get("product", {}), **settings.get("zip", {})}
    if {"budget_steps", "budget_samples"} & (settings.keys() | combined.keys()):
        combined["epochs"] = None
    small = {axis: value for axis, value in SMALL.items() if axis not in combined}
    return {"name": name, **small, **settings}


def document(*experiments: dict[str, Any], **protocol: Any) -> dict[str, Any]:
    """A protocol document with one seed."""
    return {"protocol": {"seeds": 1, **protocol}, "experiment": [*experiments] or [experiment()]}


def study(*experiments: dict[str, Any], **protocol: Any) -> Study:
    """A resolved protocol."""
    return parse(document(*experiments, **protocol), "test.toml", "test")


def cell(**axes: Any) -> Cell:
    """One small cell with these axes."""
    return study(experiment(**axes)).experiments[0].cells[0]


def run_of(seed: int = 0, **axes: Any) -> RunSpec:
    """One small run with these axes."""
    return expand(study(experiment(**axes), seeds=[seed]))[0]
