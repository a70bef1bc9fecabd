"""Learning curves: median and quantile band over seeds, a panel per batch size or setting."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from normbench.figures.canvas import FAINT, Canvas, Key, Panel
from normbench.figures.cases import cases, places, rows
from normbench.figures.look import Look
from normbench.figures.scales import Scale, linear

MOST_PANELS = 9
#: Evaluations that are drawn of a line; of more, evenly spaced ones and the last.
MOST_POINTS = 90


def thinned(curves: pd.DataFrame) -> pd.DataFrame:
    """The rows that a figure draws: its panels, and at most ``MOST_POINTS`` of each line."""
    parts = []
    for place in places(curves, MOST_PANELS):
        own = rows(curves, *place)
        for _, line in own.groupby("norm", sort=False):
            many = len(line) > MOST_POINTS
            kept = np.unique(np.linspace(0, len(line) - 1, MOST_POINTS).round().astype(int))
            parts.append(line.iloc[kept] if many else line)
    return pd.concat(parts, ignore_index=True) if parts else curves


def new_divergence(line: pd.DataFrame) -> pd.DataFrame:
    """The evaluations of one line at which more runs had diverged than before."""
    lost = line["diverged"].to_numpy(dtype=float)
    before = np.concatenate([[0.0], lost[:-1]])
    found = line[lost > before]
    height = line["median"].ffill().loc[found.index]
    return found.assign(height=height)


def _line(panel: Panel, line: pd.DataFrame, look: Look, norm: str) -> None:
    colour = look.colour[norm]
    panel.band(line["epoch"], line["low"], line["high"], colour)
    panel.line(line["epoch"], line["median"], colour)
    if len(line) <= 25:
        panel.marks(line["epoch"], line["median"], colour, look.marker[norm], size=1.9)
    dead = new_divergence(line)
    panel.marks(dead["epoch"], dead["height"], colour, "x", size=3.5)


def learning_curves(
    curves: pd.DataFrame, thresholds: Sequence[float], look: Look, label: str
) -> str:
    """Draw one experiment's rows of the table ``curves``, already thinned.

    Bands are the 10 to 90 % quantiles over seeds, dashed lines the thresholds; a cross stands
    where further runs had diverged.
    """
    norms = list(dict.fromkeys(curves["norm"]))
    found = cases(curves, MOST_PANELS, look)
    columns = len(found) if len(found) <= 3 else 2 if len(found) == 4 else 3
    keys = look.keys(norms) + ([Key("threshold", FAINT, dash="4 3")] if thresholds else [])
    canvas = Canvas(columns, *_size(columns), legend=keys)
    metric = str(curves["metric"].iloc[0])
    limits = _limits(curves, thresholds)
    single = curves["setting"].nunique() == 1
    for case in found:
        part = case.rows(curves)
        panel = canvas.panel(
            linear(curves["epoch"], zero=True), limits,
            title=f"batch size {case.label}" if single else case.label,
            across="epochs", up=f"validation {metric}",
        )  # fmt: skip
        for theta in thresholds:
            panel.level(theta)
        for norm in norms:
            _line(panel, part[part["norm"] == norm], look, norm)
    return canvas.svg(label)


def _size(columns: int) -> tuple[float, float]:
    return {1: (420.0, 210.0), 2: (270.0, 160.0)}.get(columns, (172.0, 130.0))


def _limits(curves: pd.DataFrame, thresholds: Sequence[float]) -> Scale:
    """The values' range; of losses, which may grow without bounds, up to their start's double."""
    values = curves[["low", "median", "high"]].to_numpy(dtype=float).ravel()
    if curves["metric"].iloc[0] == "loss":
        start = curves.loc[curves["epoch"] == curves["epoch"].min(), "median"].max()
        values = np.minimum(values, 2.0 * start) if np.isfinite(start) else values
    return linear([*values.tolist(), *thresholds])
