"""How little each norm changes with the batch size: the margin that it provably stays within."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from normbench.analysis.boundary import reason
from normbench.analysis.cells import CellCurves, Grid
from normbench.analysis.endpoints import final_values
from normbench.analysis.pairing import Pairing, pair
from normbench.analysis.rows import caveat_columns
from normbench.errors import StatisticsError
from normbench.stats.equivalence import invariance

COLUMNS = ["experiment", "setting", "norm", "against", "batch_sizes", "estimate", "bound", "level",
           "n", "diverged", "refusal", "warnings", "caveats"]  # fmt: skip


def _row(panel: Grid, norm: str, alpha: float) -> dict[str, Any] | None:
    cells = [c for b in panel.batch_sizes if (c := panel.cells.get((norm, b))) is not None]
    if len(cells) < 2:
        return None
    sizes = [c.batch_size for c in cells]
    row: dict[str, Any] = {
        "experiment": panel.series.name, "setting": panel.setting.text, "norm": norm,
        "against": sizes[-1], "batch_sizes": ",".join(str(b) for b in sizes[:-1]),
        "estimate": np.nan, "bound": np.nan, "level": np.nan, "n": 0, "diverged": 0,
        "refusal": "", "warnings": "", "caveats": (),
    }  # fmt: skip
    pairing = pair(cells, panel.series.seeds)
    if pairing.refusal:
        return row | {"refusal": pairing.refusal}
    try:
        return row | _bound(panel, cells, pairing, alpha)
    except StatisticsError as error:
        return row | {"refusal": reason(error)}


def _bound(panel: Grid, cells: list[CellCurves], pairing: Pairing, alpha: float) -> dict[str, Any]:
    """The bound on the largest change of the cells' final errors."""
    sizes = [c.batch_size for c in cells]
    ends = [final_values(c, panel.series.window) for c in cells]
    errors = np.stack([e.values[p] for e, p in zip(ends, pairing.picks, strict=True)], axis=1)
    # any margin beyond all errors: the interval does not depend on it
    wide = 2.0 * float(np.abs(errors).max()) + 1.0
    result = invariance(errors, [float(b) for b in sizes], sizes[-1], wide, alpha=alpha)
    bound, level = np.nan, np.nan
    if result.interval is not None:
        bound, level = max(abs(end) for end in result.interval), 1 - alpha
    return {
        "estimate": result.estimate, "bound": bound, "level": level, "n": result.n,
        "diverged": sum(int(e.diverged[p].sum()) for e, p in zip(ends, pairing.picks, strict=True)),
        "refusal": result.refusal or "", **caveat_columns([*result.warnings, *pairing.notes]),
    }  # fmt: skip


def invariance_table(panels: list[Grid], alpha: float) -> pd.DataFrame:
    """Per norm: its largest change of final error from the largest batch size, and a bound on it.

    A claim of invariance with a margin above ``bound`` would be supported by these data, one
    below it would not: at ``level``, no batch size differs from the largest by more. That is no
    verdict on a margin that was chosen after seeing it.
    """
    rows = [_row(panel, norm, alpha) for panel in panels for norm in panel.norms]
    return pd.DataFrame([row for row in rows if row is not None], columns=COLUMNS)
