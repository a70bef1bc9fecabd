"""What tests of both engines share: data in float64, and outcomes that must be equal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from normbench.plan.spec import RunSpec
from normbench.training.data import Part, Prepared, prepare
from normbench.training.engine import Engine
from normbench.training.loop import Outcome, train
from normbench.training.packed import PackedEngine
from normbench.training.plain import PlainEngine

MEASURED = {"train_seconds", "eval_seconds"}
_SAME = ("status", "steps", "samples", "classes", "label_variance", "parameters", "buffers")


def in_double(data: Prepared) -> Prepared:
    """The same data, for arithmetic in float64."""
    parts = [Part(p.x.double(), p.y) for p in (data.train, data.validation, data.test)]
    return replace(data, train=parts[0], validation=parts[1], test=parts[2])


def assert_equal(found: Outcome, expected: Outcome, tolerance: float = 1e-9) -> None:
    """Two runs ended alike: every number of every evaluation, and every prediction."""
    for key in _SAME:
        assert getattr(found, key) == getattr(expected, key), key
    assert len(found.epochs) == len(expected.epochs)
    for row, other in zip(found.epochs, expected.epochs, strict=True):
        assert row.keys() == other.keys()
        for key in row.keys() - MEASURED:
            wanted = pytest.approx(other[key], rel=tolerance, abs=tolerance, nan_ok=True)
            assert row[key] == wanted, key
    assert found.predictions.keys() == expected.predictions.keys()
    for kind, hits in found.predictions.items():
        assert np.array_equal(hits, expected.predictions[kind])


def train_alone(run: RunSpec, data: Prepared, variant: str = "") -> Outcome:
    """A run by the plain engine."""
    (outcome,) = train(PlainEngine(run, data, variant=variant))
    return outcome


def train_together(runs: Sequence[RunSpec], data: Prepared, variant: str = "") -> list[Outcome]:
    """Runs by the packed engine."""
    return train(PackedEngine(runs, data, variant=variant))


def assert_as_alone(
    runs: Sequence[RunSpec],
    variant: str = "",
    make: Callable[..., Engine] = PackedEngine,
    tolerance: float = 1e-9,
) -> None:
    """Runs that are trained together end as each does by the plain engine.

    That is every row, and of those that finish the parameters and buffers, to 1e-9.
    """
    data = in_double(prepare(runs[0].cell))
    engine = make(runs, data, **({"variant": variant} if variant else {}))
    for member, (outcome, run) in enumerate(zip(train(engine), runs, strict=True)):
        plain = PlainEngine(run, data)
        (expected,) = train(plain)
        assert_equal(outcome, expected, tolerance)
        if outcome.status != "finished":
            continue
        wanted = plain.model.state_dict()
        found = engine.export(member).state_dict()
        assert found.keys() == wanted.keys()
        for name, value in found.items():
            assert torch.allclose(value, wanted[name], rtol=0, atol=tolerance), name
