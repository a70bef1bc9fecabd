"""The time-to-accuracy profile: epochs saved at every threshold, with a simultaneous band."""

from __future__ import annotations

import pandas as pd

from normbench.figures.canvas import Canvas
from normbench.figures.look import Look
from normbench.figures.scales import linear


def profile(table: pd.DataFrame, metric: str, look: Look, label: str) -> str:
    """Draw one experiment's rows of the table ``profile``, a panel per batch size.

    Lines are mean epochs saved against the reference; bands hold for all thresholds, norms and
    sizes at once.
    """
    norms = list(dict.fromkeys(table["norm"]))
    sizes = sorted(table["batch_size"].unique())
    canvas = Canvas(len(sizes), 270.0 if len(sizes) > 1 else 420.0, 165.0, legend=look.keys(norms))
    values = table[["saved", "low", "high"]].to_numpy(dtype=float).ravel()
    for size in sizes:
        panel = canvas.panel(
            linear(table["threshold"]), linear([*values.tolist(), 0.0]),
            title=f"batch size {size}", across=f"threshold of validation {metric}",
            up=f"epochs saved against {table['reference'].iloc[0]}",
        )  # fmt: skip
        panel.level(0.0, dash="")
        for norm in norms:
            part = table[(table["norm"] == norm) & (table["batch_size"] == size)]
            part = part.sort_values("threshold")
            panel.band(part["threshold"], part["low"], part["high"], look.colour[norm])
            panel.line(part["threshold"], part["saved"], look.colour[norm])
            panel.marks(part["threshold"], part["saved"], look.colour[norm],
                        look.marker[norm], size=1.7)  # fmt: skip
    return canvas.svg(label)
