"""Endpoint values of cells, and the columns that name them."""

from __future__ import annotations

from typing import Any

from normbench.analysis.cells import CellCurves
from normbench.stats.outcome import Endpoint, endpoint_values
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


def final_values(cell: CellCurves, window: int) -> Endpoint:
    """The ``final`` endpoint of a cell: the mean error of the last ``window`` evaluations."""
    return endpoint_values(
        "final",
        cell.x,
        cell.error,
        goal="min",
        window=window,
        failure_score=cell.failure_score,
        diverged=cell.diverged,
    )


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
