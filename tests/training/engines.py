"""What tests of both engines share: data in float64, and outcomes that must be equal."""

from __future__ import annotations

import pkgutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch

from normbench.plan.spec import RunSpec
from normbench.training.data import Part, Prepared, prepare
from normbench.training.ensemble import train_together
from normbench.training.loop import Outcome, train

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


def assert_as_alone(runs: Sequence[RunSpec], variant: str = "") -> None:
    """Runs that are trained together end as each does by the plain loop.

    That is every row, and of those that finish the parameters and buffers, to 1e-9.
    """
    data = in_double(prepare(runs[0].cell))
    with _kept("normbench.training.ensemble.Ensemble") as ensembles:
        found = train_together(runs, data, variant=variant)
    (ensemble,) = ensembles
    for member, (outcome, run) in enumerate(zip(found, runs, strict=True)):
        with _kept("normbench.training.loop.Trainer") as trainers:
            assert_equal(outcome, train(run, data))
        if outcome.status != "finished":
            continue
        ensemble.packed.store(member, ensemble.plain)
        expected = trainers[0].model.state_dict()
        for name, value in ensemble.plain.state_dict().items():
            assert torch.allclose(value, expected[name], rtol=0, atol=1e-9), name


@contextmanager
def _kept(name: str) -> Iterator[list[Any]]:
    """Everything that a class makes within."""
    real, made = pkgutil.resolve_name(name), []

    def make(*given: Any, **more: Any) -> Any:
        made.append(real(*given, **more))
        return made[-1]

    with mock.patch(name, make):
        yield made
