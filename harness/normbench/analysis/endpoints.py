"""Endpoint values of cells, and the columns that name them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from normbench.analysis.cells import CellCurves
from normbench.analysis.curves import Floats
from normbench.stats.outcome import EndpointValues, endpoint_values
from normbench.stats.speed import RestrictedTimes, restricted_time

KEYS = ["experiment", "setting", "norm", "batch_size"]


def key_columns(cell: CellCurves) -> dict[str, Any]:
    """The columns that name a cell."""
    return {
        "experiment": cell.experiment,
        "setting": cell.setting,
        "norm": cell.norm,
        "batch_size": cell.batch_size,
    }


def final_values(cell: CellCurves, window: int) -> EndpointValues:
    """The ``final`` endpoint of a cell: the mean error of the last ``window`` evaluations."""
    return final_error(cell.x, cell.error, cell.diverged, cell.failure_score, window)


def final_error(
    x: Floats, errors: Floats, diverged: NDArray[np.bool_], failure_score: float, window: int
) -> EndpointValues:
    """The mean error, or loss, of each run over its last ``window`` evaluations.

    ``errors`` has shape (runs, evaluations); a diverged run counts with the failure score.
    """
    return endpoint_values(
        "final", x, errors, goal="min", window=window, failure_score=failure_score,
        diverged=diverged,
    )  # fmt: skip


def times(cell: CellCurves, threshold: float, window: int) -> RestrictedTimes:
    """The restricted time to a threshold of every run of a cell, in epochs."""
    return restricted_time(
        cell.x,
        cell.curves,
        threshold,
        goal=cell.goal,  # type: ignore[arg-type]
        budget=cell.budget,
        window=window,
        diverged=cell.diverged,
    )
