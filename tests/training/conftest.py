"""Small data and trained runs for the tests of training."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

from normbench.training.data import prepare
from normbench.training.loop import Outcome
from tests.builders import run_of
from tests.training.engines import train_alone

MEASURED = ("train_seconds", "eval_seconds")


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """One thread, as in a worker; the process's own settings return afterwards."""
    threads, onednn = torch.get_num_threads(), torch.backends.mkldnn.enabled
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    torch.backends.mkldnn.enabled = onednn  # type: ignore[assignment]


@pytest.fixture
def trained() -> Callable[..., Outcome]:
    """Train a small run with these axes."""

    def go(seed: int = 0, **axes: Any) -> Outcome:
        run = run_of(seed, **axes)
        return train_alone(run, prepare(run.cell))

    return go


@pytest.fixture
def metrics() -> Callable[[Outcome], list[dict[str, Any]]]:
    """An outcome's rows without wall-clock times; NaN is spelled out so that rows compare."""

    def read(outcome: Outcome) -> list[dict[str, Any]]:
        return [
            {k: "NaN" if math.isnan(v) else v for k, v in row.items() if k not in MEASURED}
            for row in outcome.epochs
        ]

    return read
