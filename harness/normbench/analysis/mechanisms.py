"""What probes measured inside the networks, over seeds, and what measuring it took."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from normbench.analysis.cells import Grid
from normbench.analysis.endpoints import KEYS, key_columns
from normbench.results.load import Results

COLUMNS = [*KEYS, "probe", "layer", "epoch", "step", "median", "low", "high", "runs", "undefined"]
COSTS = [*KEYS, "runs", "probe_seconds", "seconds", "share"]


def mechanism_table(results: Results, panels: Sequence[Grid]) -> pd.DataFrame:
    """Median and 10 to 90 % quantiles over seeds of every quantity, per layer and evaluation.

    ``runs`` have a finite value there; ``undefined`` ones have a number that is not finite. Runs
    that have diverged are in neither. Without probes the table is empty.
    """
    probes = results.probes
    parts = []
    for panel in panels:
        for cell in panel.cells.values():
            own = probes[probes["run_hash"].isin(list(cell.runs))]
            if not own.empty:
                parts.append(_of_cell(own).assign(**key_columns(cell)))
    if not parts:
        return pd.DataFrame(columns=COLUMNS)
    return pd.concat(parts, ignore_index=True)[COLUMNS]


def _of_cell(probes: pd.DataFrame) -> pd.DataFrame:
    """The rows of one cell: quantities and layers as they come, evaluations in order."""
    order = ["probe", "layer", "step"]
    places = probes.groupby(order[:2], sort=False).ngroup()
    probes = probes.assign(place=places).sort_values(["place", "step"], kind="stable")
    groups = probes.groupby(order, sort=False)["value"]
    table = pd.DataFrame(
        {
            "epoch": probes.groupby(order, sort=False)["epoch"].first(),
            "median": groups.quantile(0.5),
            "low": groups.quantile(0.1),
            "high": groups.quantile(0.9),
            "runs": groups.count(),
            "undefined": groups.size() - groups.count(),
        }
    )
    return table.reset_index()


def probe_cost_table(results: Results, panels: Sequence[Grid]) -> pd.DataFrame:
    """Per cell with probes: mean seconds of a run, those of its probes, and their share.

    They are wall-clock seconds of the sweep itself, other work of the machine included.
    """
    runs = results.runs.drop_duplicates("run_hash").set_index("run_hash")
    rows: list[dict[str, Any]] = []
    for panel in panels:
        for cell in panel.cells.values():
            own = runs.loc[list(cell.runs), ["probe_seconds", "seconds"]].astype(np.float64)
            own = own[own["probe_seconds"].notna()]
            if own.empty:
                continue
            spent, whole = own["probe_seconds"].mean(), own["seconds"].mean()
            share = spent / whole if whole > 0 else np.nan
            row = {"runs": len(own), "probe_seconds": spent, "seconds": whole, "share": share}
            rows.append(key_columns(cell) | row)
    return pd.DataFrame(rows, columns=COSTS)
