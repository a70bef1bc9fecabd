"""Learning curves with input normalization on and off, a panel per norm."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from normbench.figures.canvas import FAINT, Canvas, Key
from normbench.figures.look import DASHES, Look
from normbench.figures.scales import linear


def input_norm_curves(
    curves: pd.DataFrame, levels: Sequence[str], thresholds: Sequence[float], look: Look, label: str
) -> str:
    """Draw rows of ``curves`` with a column ``input_norm``: one dash for each of ``levels``."""
    norms = list(dict.fromkeys(curves["norm"]))
    dashes = dict(zip(levels, DASHES * (1 + len(levels) // len(DASHES)), strict=False))
    keys = [Key(level, FAINT, dash=dashes[level]) for level in levels]
    columns = min(len(norms), 3)
    canvas = Canvas(columns, 172.0 if columns > 2 else 250.0, 140.0,
                    legend=[*look.keys(norms), *keys])  # fmt: skip
    values = [*curves["median"], *thresholds]
    for norm in norms:
        panel = canvas.panel(
            linear(curves["epoch"], zero=True), linear(values), title=norm,
            across="epochs", up=f"validation {curves['metric'].iloc[0]}",
        )  # fmt: skip
        for theta in thresholds:
            panel.level(theta)
        for level in levels:
            line = curves[(curves["norm"] == norm) & (curves["input_norm"] == level)]
            panel.line(line["epoch"], line["median"], look.colour[norm], dash=dashes[level])
    return canvas.svg(label)
