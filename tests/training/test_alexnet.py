"""AlexNet at full size goes through the whole training loop under every norm."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import pytest

from normbench.catalog import NORMS
from normbench.training import data
from normbench.training.data import Prepared, prepare
from tests.builders import run_of
from tests.training.engines import train_alone

AXES = {
    "dataset": {"name": "pets", "items": 50, "resolution": 224},
    "sites": "first-two",
    "batch_size": 4,
    "learning_rate": 0.001,
    "budget_steps": 3,
    "evaluations": 1,
    "statistics_samples": 8,
}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prepared]:
    cache: Path = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NORMBENCH_CACHE", str(cache))
        patch.setattr(data, "TRAIN_EVAL_ITEMS", 8)
        yield prepare(run_of(norm="none", model="alexnet", **AXES).cell)


@pytest.mark.parametrize("norm", NORMS.complete)
@pytest.mark.parametrize("width", [0.125, pytest.param(1.0, marks=pytest.mark.slow)])
def test_three_steps_at_224_pixels_move_every_norm(
    norm: str, width: float, photos: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("normbench.training.evaluate.TRAIN_EVAL_ITEMS", 8)
    model = {"name": "alexnet", "width": width}
    found = train_alone(run_of(norm=norm, model=model, **AXES), photos)
    assert (found.status, found.steps, found.samples) == ("finished", 3, 12)
    assert width < 1 or found.parameters >= 57_012_034
    first, last = found.epochs
    assert math.isfinite(last["val_loss"])
    assert last["val_loss"] != first["val_loss"]
    assert last["update_norm"] > 0
