"""Every norm against the experiment's reference norm, seed by seed."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from normbench.analysis import reasons
from normbench.analysis.cells import CellCurves, Grid
from normbench.analysis.endpoints import KEYS, final_values, key_columns, times
from normbench.analysis.pairing import pair
from normbench.analysis.reasons import FINAL_DIFFERENCE, TIME_DIFFERENCE
from normbench.analysis.rows import RESULT_COLUMNS, attempted, refused_row, result_row
from normbench.stats.compare import paired
from normbench.stats.durations import restricted_mean_difference

COLUMNS = [*KEYS, "reference", "endpoint", "threshold", *RESULT_COLUMNS, "diverged",
           "diverged_reference"]  # fmt: skip


def _final(cell: CellCurves, reference: CellCurves, panel: Grid, alpha: float) -> dict[str, Any]:
    pairing = pair([cell, reference], panel.series.seeds)
    if pairing.refusal:
        return refused_row(pairing.refusal, FINAL_DIFFERENCE)
    ends = [final_values(c, panel.series.window) for c in (cell, reference)]
    a, b = (e.values[p] for e, p in zip(ends, pairing.picks, strict=True))
    lost = [e.diverged[p] for e, p in zip(ends, pairing.picks, strict=True)]
    name = "error" if cell.metric == "accuracy" else "loss"
    result = paired(
        a, b, goal="min", alpha=alpha, diverged_a=lost[0], diverged_b=lost[1],
        labels=(cell.norm, reference.norm), metric=f"final validation {name}",
    )  # fmt: skip
    return result_row(result, pairing.notes) | {
        "diverged": int(lost[0].sum()),
        "diverged_reference": int(lost[1].sum()),
    }


def _time(
    cell: CellCurves, reference: CellCurves, panel: Grid, theta: float, alpha: float
) -> dict[str, Any]:
    pairing = pair([cell, reference], panel.series.seeds)
    if not pairing.refusal and cell.budget != reference.budget:
        return refused_row(reasons.BUDGETS_DIFFER, TIME_DIFFERENCE)
    if pairing.refusal:
        return refused_row(pairing.refusal, TIME_DIFFERENCE)
    found = [times(c, theta, panel.series.window) for c in (cell, reference)]
    a, b = (f.time[p] for f, p in zip(found, pairing.picks, strict=True))
    lost = [int(f.diverged[p].sum()) for f, p in zip(found, pairing.picks, strict=True)]
    result = restricted_mean_difference(a, b, budget=cell.budget, alpha=alpha, diverged=sum(lost))
    return result_row(result, pairing.notes) | {
        "diverged": lost[0],
        "diverged_reference": lost[1],
    }


def comparison_table(panels: list[Grid], alpha: float) -> pd.DataFrame:
    """Every norm against the experiment's reference, at each batch size, seed by seed.

    Positive estimates mean that the norm is better than the reference: its final error is
    lower, or it reaches the threshold earlier. The p-values are of single comparisons. How
    many runs diverged stands beside every mean.
    """
    rows = []
    for panel in panels:
        base = panel.series.reference
        for (norm, batch), cell in panel.cells.items():
            reference = panel.cells.get((base, batch))
            if norm == base:
                continue
            key = key_columns(cell) | {"reference": base}
            if reference is None:
                row = refused_row(reasons.no_reference(base), "")
                rows.append(key | {"endpoint": "final", "threshold": np.nan} | row)
                continue
            row = attempted(FINAL_DIFFERENCE, partial(_final, cell, reference, panel, alpha))
            rows.append(key | {"endpoint": "final", "threshold": np.nan} | row)
            for theta in panel.series.thresholds:
                row = attempted(
                    TIME_DIFFERENCE, partial(_time, cell, reference, panel, theta, alpha)
                )
                rows.append(key | {"endpoint": "time", "threshold": theta} | row)
    return pd.DataFrame(rows, columns=COLUMNS)
