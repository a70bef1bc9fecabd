"""Sensitivity to the learning rate: the score of every rate of the grid, and what is stable."""

from __future__ import annotations

import math

import pandas as pd

from normbench.figures.canvas import Canvas
from normbench.figures.look import Look
from normbench.figures.scales import Scale, linear

MOST_PANELS = 6


def _rates(values: pd.Series) -> Scale:
    known = sorted(set(values))
    shown = known[:: max(1, -(-len(known) // 6))]
    return Scale(known[0] / 1.4, known[-1] * 1.4, tuple((v, f"{v:g}") for v in shown), log=True)


def rate_sensitivity(tuning: pd.DataFrame, name: str, look: Look, label: str) -> str:
    """Draw one experiment's rows of the table ``tuning``, a panel per batch size.

    The chosen rate is marked large; the thick part of a line is the stable range.
    """
    norms = list(dict.fromkeys(tuning["norm"]))
    sizes = sorted(tuning["batch_size"].unique())[:MOST_PANELS]
    columns = min(len(sizes), 3)
    canvas = Canvas(columns, 172.0 if columns > 2 else 250.0, 140.0, legend=look.keys(norms))
    limits = linear([v for v in tuning["mean"] if math.isfinite(v)], zero=True)
    for size in sizes:
        panel = canvas.panel(
            _rates(tuning["learning_rate"]), limits, title=f"batch size {size}",
            across="learning rate (log scale)", up=name,
        )  # fmt: skip
        for norm in norms:
            part = tuning[(tuning["norm"] == norm) & (tuning["batch_size"] == size)]
            for _, cell in part.groupby("cell_key", sort=False):
                line = cell.sort_values("learning_rate")
                colour, marker = look.colour[norm], look.marker[norm]
                panel.line(line["learning_rate"], line["mean"], colour, width=0.9)
                panel.marks(line["learning_rate"], line["mean"], colour, marker, size=1.6)
                stable = line["mean"].where(line["stable"].astype(bool))
                panel.line(line["learning_rate"], stable, colour, width=2.8)
                best = line[line["chosen"].astype(bool)]
                panel.marks(best["learning_rate"], best["mean"], colour, marker, size=4.4)
    return canvas.svg(label)
