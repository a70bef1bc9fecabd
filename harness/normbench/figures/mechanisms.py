"""What a probe measured over training: median and band over seeds, a line per norm."""

from __future__ import annotations

import numpy as np
import pandas as pd

from normbench.figures.canvas import Canvas
from normbench.figures.cases import cases, places, rows
from normbench.figures.look import Look
from normbench.figures.scales import Scale, decades, linear

#: Panels of a figure at most, and evaluations that are drawn of a line.
MOST_PANELS, MOST_POINTS = 3, 60


def drawn_rows(table: pd.DataFrame) -> pd.DataFrame:
    """The rows that a figure of one experiment and quantity draws: its panels, thinned lines."""
    parts = []
    for place in places(table, MOST_PANELS):
        for _, line in rows(table, *place).groupby("norm", sort=False):
            kept = np.unique(np.linspace(0, len(line) - 1, MOST_POINTS).round().astype(int))
            parts.append(line.iloc[kept] if len(line) > MOST_POINTS else line)
    return pd.concat(parts, ignore_index=True)


def mechanism_curves(
    table: pd.DataFrame, look: Look, label: str, *, up: str, logarithmic: bool
) -> str:
    """Draw one experiment's rows of ``mechanisms`` of one quantity, as :func:`drawn_rows` gives.

    Bands are the 10 to 90 % quantiles over seeds, ``up`` is the name of the upright axis. It is
    ``logarithmic`` only where all values are positive.
    """
    norms = list(dict.fromkeys(table["norm"]))
    found = cases(table, MOST_PANELS, look)
    size = (250.0, 120.0) if len(found) == 1 else (172.0, 112.0)
    canvas = Canvas(len(found), *size, legend=look.keys(norms))
    limits = upright(table, logarithmic)
    single = table["setting"].nunique() == 1
    for case in found:
        part = case.rows(table)
        panel = canvas.panel(
            linear(table["epoch"], zero=True), limits,
            title=f"batch size {case.label}" if single else case.label, across="epochs", up=up,
        )  # fmt: skip
        for norm in norms:
            line, colour = part[part["norm"] == norm], look.colour[norm]
            panel.band(line["epoch"], line["low"], line["high"], colour)
            panel.line(line["epoch"], line["median"], colour)
            if len(line) <= 25:
                panel.marks(line["epoch"], line["median"], colour, look.marker[norm], size=1.9)
    return canvas.svg(label)


def upright(table: pd.DataFrame, logarithmic: bool) -> Scale:
    """The upright axis: logarithmic where that is asked for and all values are positive."""
    values = table[["low", "median", "high"]].to_numpy(dtype=float).ravel()
    finite = values[np.isfinite(values)]
    if logarithmic and len(finite) and (finite > 0).all():
        return decades(finite)
    return linear(values)
