"""What tests of both engines share: data in float64, and outcomes that must be equal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from normbench.plan.spec import RunSpec
from normbench.training.data import Part, Prepared, prepare
from normbench.training.ensemble import Ensemble, train_together
from normbench.training.loop import Outcome, Trainer, train

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
    """Runs that are trained together end as each does by the plain loop."""
    data = in_double(prepare(runs[0].cell))
    found = train_together(runs, data, variant=variant)
    for outcome, run in zip(found, runs, strict=True):
        assert_equal(outcome, train(run, data))


def assert_steps_as_alone(runs: Sequence[RunSpec], batch: int, steps: int = 30) -> None:
    """After some steps members have the parameters and buffers of plain modules, to 1e-9."""
    data = in_double(prepare(runs[0].cell))
    ensemble = Ensemble(runs, data)
    trainers = [Trainer(run, data) for run in runs]
    generator = torch.Generator().manual_seed(0)
    for step in range(steps):
        index = torch.randint(len(data.train), (len(runs), batch), generator=generator)
        with torch.no_grad():
            ensemble.step(index, step)
        for member, trainer in enumerate(trainers):
            trainer.step(index[member], step)
    for member, trainer in enumerate(trainers):
        ensemble.packed.store(member, ensemble.plain)
        expected = trainer.model.state_dict()
        for name, value in ensemble.plain.state_dict().items():
            assert torch.allclose(value, expected[name], rtol=0, atol=1e-9), name
