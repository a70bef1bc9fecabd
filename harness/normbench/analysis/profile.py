"""Time to accuracy over a whole range of thresholds, with a band that holds for all at once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from normbench.analysis import reasons
from normbench.analysis.boundary import reason
from normbench.analysis.cells import CellCurves, Grid
from normbench.analysis.curves import Floats
from normbench.analysis.endpoints import KEYS, key_columns, times
from normbench.analysis.pairing import pair
from normbench.errors import StatisticsError
from normbench.stats.multiplicity import simultaneous_band
from normbench.stats.refusals import few_seeds
from normbench.stats.rounding import constant, difference
from normbench.stats.thresholds import pooled_grid

COLUMNS = [*KEYS, "reference", "threshold", "saved", "low", "high", "level", "reached",
           "reached_reference", "n", "refusal"]  # fmt: skip
THRESHOLDS = 20

Times = tuple[Floats, Floats]


def _grid(panel: Grid) -> Floats | str:
    """The thresholds of a panel, pooled from all its runs and blind to their norm."""
    cells = list(panel.cells.values())
    try:
        found = pooled_grid(
            [c.curves for c in cells],
            goal=cells[0].goal,  # type: ignore[arg-type]
            count=THRESHOLDS,
            window=panel.series.window,
            x=[c.x for c in cells],
        )
    except StatisticsError as error:
        return reason(error)
    if constant(found):
        return reasons.ONE_LEVEL
    return found


def _times(cell: CellCurves, grid: Floats, window: int) -> Times:
    """Restricted times and whether they were reached, shape (seeds, thresholds) each."""
    found = [times(cell, float(theta), window) for theta in grid]
    return np.stack([f.time for f in found], 1), np.stack([f.reached for f in found], 1)


def _compared(
    panel: Grid, cell: CellCurves, base: CellCurves, own: Times, other: Times, alpha: float
) -> dict[str, Any]:
    """The columns of one pair, a value per threshold, or the reason why there are none."""
    pairing = pair([cell, base], panel.series.seeds)
    refusal = pairing.refusal or (reasons.BUDGETS_DIFFER if cell.budget != base.budget else "")
    if refusal:
        return {"refusal": refusal, "n": 0}
    mine, theirs = pairing.picks
    saved = difference(other[0][theirs], own[0][mine])
    columns: dict[str, Any] = {
        "saved": saved.mean(axis=0), "n": len(saved), "refusal": few_seeds(len(saved)) or "",
        "reached": own[1][mine].mean(axis=0), "reached_reference": other[1][theirs].mean(axis=0),
    }  # fmt: skip
    if not columns["refusal"]:
        band = simultaneous_band(saved, alpha)
        columns |= {"low": band.low, "high": band.high, "level": band.level}
    return columns


def _reference(cell: CellCurves, grid: Floats | str, window: int) -> Times | str:
    """The times of the reference, or why there are none."""
    if isinstance(grid, str):
        return grid
    try:
        return _times(cell, grid, window)
    except StatisticsError as error:
        return reason(error)


def _tried(
    panel: Grid,
    cell: CellCurves,
    base: CellCurves,
    grid: Floats,
    known: Times,
    alpha: float,
) -> dict[str, Any]:
    """The columns of one pair, refused where the values have no such statistic."""
    try:
        own = _times(cell, grid, panel.series.window)
        return _compared(panel, cell, base, own, known, alpha)
    except StatisticsError as error:
        return {"refusal": reason(error), "n": 0}


def profile_table(panels: list[Grid], alpha: float) -> pd.DataFrame:
    """How many epochs each norm saves against the reference, over 20 thresholds.

    The thresholds are pooled from all runs of the panel, blind to their norm: from one that
    95 % of the runs reach to one that half of them do. ``low`` and ``high`` are a band that
    holds for all thresholds, norms and batch sizes of the experiment at once, at ``level``: each
    pair has its share of the error rate. Only the smallest and the largest batch size are
    compared, and of an experiment with several settings the first: a band costs as much as twenty
    comparisons.
    """
    frames, seen = [], set()
    for panel in panels:
        sizes, base = panel.batch_sizes, panel.series.reference
        if panel.series.name in seen or len(panel.norms) < 2 or not sizes:
            continue
        seen.add(panel.series.name)
        grid, ends = _grid(panel), list(dict.fromkeys([sizes[0], sizes[-1]]))
        pairs = sum((n, b) in panel.cells for n in panel.norms if n != base for b in ends)
        for size in ends:
            reference = panel.cells.get((base, size))
            if reference is None:
                continue
            known = _reference(reference, grid, panel.series.window)
            grid = known if isinstance(known, str) else grid
            for norm in panel.norms:
                cell = panel.cells.get((norm, size))
                if norm == base or cell is None:
                    continue
                if isinstance(grid, str) or isinstance(known, str):
                    found: dict[str, Any] = {"refusal": str(grid), "n": 0}
                else:
                    found = _tried(panel, cell, reference, grid, known, alpha / pairs)
                    found |= {"level": 1 - alpha} if "low" in found else {}
                theta = grid if "saved" in found else [np.nan]
                row = key_columns(cell) | {"reference": base, "threshold": theta} | found
                frames.append(pd.DataFrame(row))
    if not frames:
        return pd.DataFrame(columns=COLUMNS)
    return pd.concat(frames, ignore_index=True).reindex(columns=COLUMNS)
