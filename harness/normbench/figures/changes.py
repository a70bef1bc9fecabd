"""A forest plot: every difference between two result sets with its intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from normbench.analysis.judging import direction
from normbench.figures.render import colours, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def change_forest(rows: pd.DataFrame) -> Figure:
    """Draw rows of the table ``changes`` with the columns ``label``, ``unit`` and ``factor``.

    A panel per unit, a line per comparison: the point is the mean difference times ``factor``
    (filled where it changed beyond noise), the thick bar the interval of this comparison alone,
    the thin one the interval that holds for all at once.
    """
    import matplotlib.pyplot as plt

    units = list(dict.fromkeys(rows["unit"]))
    colour = colours(list(dict.fromkeys(rows["norm"])))
    most = max(int((rows["unit"] == unit).sum()) for unit in units)
    with styled():
        figure, axes = plt.subplots(
            1, len(units), figsize=(4.6 * len(units), 0.9 + 0.24 * most), squeeze=False
        )
        for axis, unit in zip(axes.flat, units, strict=True):
            _panel(axis, rows[rows["unit"] == unit], colour)
            axis.set_xlabel(
                f"B earlier by ({unit})" if unit == "epochs" else f"final: B better by ({unit})"
            )
        figure.tight_layout()
    return figure


def _panel(axis: Axes, rows: pd.DataFrame, colour: dict[str, str]) -> None:
    for place, row in enumerate(rows.to_dict("records")):
        ink, factor = colour[row["norm"]], row["factor"]
        axis.plot(
            [factor * row["simultaneous_low"], factor * row["simultaneous_high"]], [place, place],
            color=ink, linewidth=1.0,
        )  # fmt: skip
        axis.plot([factor * row["low"], factor * row["high"]], [place, place], color=ink,
                  linewidth=3.0, alpha=0.55, solid_capstyle="butt")  # fmt: skip
        changed = bool(direction(row["verdict"]))
        axis.plot(
            [factor * row["estimate"]], [place], "o", color=ink, markersize=5,
            markerfacecolor=ink if changed else "none",
        )  # fmt: skip
    axis.axvline(0.0, color="#808080", linewidth=0.9)
    axis.set_yticks(range(len(rows)), rows["label"].tolist(), parse_math=False)
    axis.set_ylim(len(rows) - 0.5, -0.5)
    axis.grid(visible=False, axis="y")
    axis.locator_params(axis="x", nbins=5)  # long numbers would be written over each other
