"""Input normalization on against off: final error and time saved, and what norms make of it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from normbench.analysis import reasons
from normbench.analysis.cells import CellCurves, Grid
from normbench.analysis.curves import Floats
from normbench.analysis.endpoints import KEYS, final_values, times
from normbench.analysis.pairing import pair
from normbench.analysis.rows import RESULT_COLUMNS, attempted, refused_row, result_row
from normbench.analysis.settings import INPUT_NORM
from normbench.stats.compare import paired_difference
from normbench.stats.rounding import settled

COLUMNS = [*KEYS, "input_norm", "off", "against", "endpoint", "threshold", *RESULT_COLUMNS,
           "diverged"]  # fmt: skip
#: Inputs as they are, that is, without any normalization.
OFF = "raw"

Read = Callable[[CellCurves], tuple[Floats, Floats]]


def _readers(panel: Grid) -> list[tuple[str, float, Read]]:
    """The endpoints: final error, and the time to each threshold."""
    window = panel.series.window

    def final(cell: CellCurves) -> tuple[Floats, Floats]:
        end = final_values(cell, window)
        return end.values, end.diverged.astype(float)

    def time(theta: float) -> Read:
        def read(cell: CellCurves) -> tuple[Floats, Floats]:
            found = times(cell, theta, window)
            return found.time, found.diverged.astype(float)

        return read

    return [("final", np.nan, final), *(("time", t, time(t)) for t in panel.series.thresholds)]


def _result(cells: list[CellCurves], panel: Grid, read: Read, alpha: float) -> dict[str, Any]:
    """Off minus on, and, given four cells, the first two's difference minus the last two's."""
    pairing = pair(cells, panel.series.seeds)
    refusal = pairing.refusal
    if not refusal and len({c.budget for c in cells}) > 1:
        refusal = reasons.BUDGETS_DIFFER
    if refusal:
        return refused_row(refusal, "")
    found = [read(cell) for cell in cells]
    values = [v[p] for (v, _), p in zip(found, pairing.picks, strict=True)]
    lost = sum(int(d[p].sum()) for (_, d), p in zip(found, pairing.picks, strict=True))
    signs = (1.0, -1.0, -1.0, 1.0)[: len(values)]
    d = settled([sign * own for sign, own in zip(signs, values, strict=True)])
    result = paired_difference(
        d, alpha=alpha, diverged=lost,
        estimand=reasons.INPUT_GAIN if len(cells) == 2 else reasons.INPUT_GAIN_BESIDE,
    )  # fmt: skip
    return result_row(result, pairing.notes) | {"diverged": lost}


def _group(group: list[Grid], alpha: float) -> list[dict[str, Any]]:
    by_level = {p.setting.value(INPUT_NORM): p for p in group}
    off = OFF if OFF in by_level else next(iter(by_level))
    rows = []
    for name, panel in by_level.items():
        if name == off:
            continue
        base = "none" if "none" in panel.norms else panel.series.reference
        for (norm, size), on in panel.cells.items():
            plain = by_level[off].cells.get((norm, size))
            others = [p.cells.get((base, size)) for p in (by_level[off], panel)]
            if plain is None:
                continue
            comparisons = [("", [plain, on])]
            if norm != base and all(c is not None for c in others):
                comparisons.append((base, [plain, on, *(c for c in others if c is not None)]))
            for endpoint, theta, read in _readers(panel):
                for against, cells in comparisons:
                    key = {
                        "experiment": panel.series.name, "norm": norm, "batch_size": size,
                        "setting": panel.setting.without(INPUT_NORM).text,
                        "input_norm": name, "off": off,
                        "against": against, "endpoint": endpoint, "threshold": theta,
                    }  # fmt: skip
                    found = attempted("", partial(_result, cells, panel, read, alpha))
                    rows.append(key | found)
    return rows


def input_norm_table(panels: list[Grid], alpha: float) -> pd.DataFrame:
    """Every input normalization against none, within a seed; positive: it helps.

    Without ``against``: the final error that it lowers, or the epochs that it saves. With
    ``against``: that gain minus the gain of the norm named there, so that a negative value means
    that the norm makes input normalization less needed. p-values are of single comparisons.
    """
    groups: dict[tuple[str, str], list[Grid]] = {}
    for panel in panels:
        if panel.setting.value(INPUT_NORM):
            key = (panel.series.name, panel.setting.without(INPUT_NORM).text)
            groups.setdefault(key, []).append(panel)
    rows = [row for group in groups.values() if len(group) > 1 for row in _group(group, alpha)]
    return pd.DataFrame(rows, columns=COLUMNS)
