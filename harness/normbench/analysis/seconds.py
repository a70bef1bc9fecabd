"""Seconds: what a step costs, and from it how long a cell takes to reach a threshold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from normbench.analysis.cells import CellCurves, Grid
from normbench.analysis.curves import Floats
from normbench.analysis.endpoints import KEYS, key_columns
from normbench.stats.durations import median_time
from normbench.stats.guard import bootstrap_t_interval
from normbench.stats.result import Interval

NONE = (np.nan, np.nan)
#: Resamples of the seeds for an interval: an end's place among them is one in a thousand off.
RESAMPLES = 1_999
_PARTS = ("step", "forward", "backward", "update")
_COLUMNS = [
    *KEYS, "repetitions",
    *(f"{part}_{what}" for part in _PARTS for what in ("seconds", "low", "high")),
    "level", "memory", "memory_kind", "reference", "ratio", "ratio_low", "ratio_high",
    "device", "threads", "environment",
]  # fmt: skip


@dataclass(frozen=True)
class CellTimes:
    """The timings of one cell: seconds of a step and its parts, each of shape (repetitions,)."""

    repetitions: NDArray[np.int64]
    seconds: dict[str, Floats]
    row: dict[str, Any]


Timings = dict[str, CellTimes]


def timings_by_cell(frame: pd.DataFrame) -> Timings:
    """The table ``timings`` cut up by cell, repetitions in order."""
    ordered = frame.sort_values(["cell_hash", "repetition"])
    firsts = ordered.drop_duplicates("cell_hash").to_dict("records")
    repetitions = ordered["repetition"].to_numpy(dtype=np.int64)
    columns = {part: ordered[f"{part}_seconds"].to_numpy(dtype=float) for part in _PARTS}
    ends = np.cumsum(ordered.groupby("cell_hash", sort=True).size().to_numpy(dtype=np.int64))
    found, start = {}, 0
    for row, end in zip(firsts, ends, strict=True):
        own = slice(start, end)
        seconds = {part: values[own] for part, values in columns.items()}
        found[str(row["cell_hash"])] = CellTimes(repetitions[own], seconds, row)  # type: ignore[arg-type]
        start = end
    return found


def _median(values: Floats, alpha: float) -> tuple[float, Interval]:
    """The median over repetitions and its interval between order statistics, NaN if too few."""
    result = median_time(values, alpha=alpha)
    return result.estimate, result.interval or NONE


def _ratio(cell: CellTimes, reference: CellTimes | None, alpha: float) -> tuple[float, Interval]:
    """The median over repetitions of the ratio of both step times within a repetition."""
    if reference is None:
        return np.nan, NONE
    if cell is reference:
        return 1.0, NONE
    _, own, other = np.intersect1d(
        cell.repetitions, reference.repetitions, assume_unique=True, return_indices=True
    )
    if not own.size:
        return np.nan, NONE
    return _median(cell.seconds["step"][own] / reference.seconds["step"][other], alpha)


def cost_table(panels: list[Grid], timings: Timings, alpha: float) -> pd.DataFrame:
    """Per timed cell: median seconds of a step and its parts, memory, ratio to the reference norm.

    Intervals are those of a median, between order statistics of the repetitions: whatever their
    distribution, at least at ``level`` if repetitions are independent. ``ratio`` is the median of
    the ratios within repetitions, in which both took their turns soon after each other.
    """
    rows = []
    for panel in panels:
        for cell in panel.cells.values():
            times = timings.get(cell.cell_hash)
            if times is None:
                continue
            row: dict[str, Any] = key_columns(cell) | {"repetitions": len(times.repetitions)}
            for part in _PARTS:
                middle, (low, high) = _median(times.seconds[part], alpha)
                row |= {f"{part}_seconds": middle, f"{part}_low": low, f"{part}_high": high}
            base = panel.cells.get((panel.series.reference, cell.batch_size))
            reference = timings.get(base.cell_hash) if base is not None else None
            ratio, (low, high) = _ratio(times, reference, alpha)
            row |= {"ratio": ratio, "ratio_low": low, "ratio_high": high}
            kept = ("memory", "memory_kind", "device", "threads", "environment")
            row |= {name: times.row[name] for name in kept}
            rows.append(row | {"reference": panel.series.reference, "level": 1 - alpha})
    return pd.DataFrame(rows, columns=_COLUMNS)


def mean_interval(time: Floats, budget: float, alpha: float) -> Interval:
    """The interval of a restricted mean over seeds: bootstrap-t, within 0 and the budget.

    Restricted times are skewed and end at the budget, so nothing symmetric is assumed. With two
    or three seeds it is all that is possible, 0 to the budget; without any spread, or with one
    seed, there is none (NaN).
    """
    if len(time) < 2 or np.ptp(time) <= 1e-12 * budget:
        return NONE
    low, high = bootstrap_t_interval(time, alpha, resamples=RESAMPLES)
    return max(0.0, low), min(budget, high)


def time_columns(cell: CellCurves, time: Floats, timings: Timings, alpha: float) -> dict[str, Any]:
    """A restricted mean time with its interval, in epochs, steps, samples and seconds.

    ``time`` holds the seeds' restricted times in epochs, shape (seeds,). Seconds are the steps
    times the median of the isolated step time. Their interval is the product of both intervals'
    ends, each at level 1 − alpha/2: both hold at once with at least 1 − alpha (Bonferroni), and
    then so does the product, as neither is negative. It is NaN where either interval is.
    """
    mean = float(time.mean())
    low, high = mean_interval(time, cell.budget, alpha)
    steps = np.nan if cell.steps_per_epoch is None else float(cell.steps_per_epoch)
    row = {"restricted_mean": mean, "low": low, "high": high, "budget": cell.budget}
    row |= {"steps": mean * steps, "samples": mean * steps * cell.samples_per_step}
    row |= dict.fromkeys(("seconds", "seconds_low", "seconds_high"), np.nan)
    times = timings.get(cell.cell_hash)
    if times is not None:
        step, (step_low, step_high) = _median(times.seconds["step"], alpha / 2)
        low, high = mean_interval(time, cell.budget, alpha / 2)
        row["seconds"] = row["steps"] * step
        row |= {"seconds_low": low * steps * step_low, "seconds_high": high * steps * step_high}
    return row
