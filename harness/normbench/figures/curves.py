"""Learning curves: median and quantile band over seeds, a panel per batch size."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from normbench.figures.render import colours, markers, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def learning_curves(curves: pd.DataFrame, thresholds: tuple[float, ...]) -> Figure:
    """Draw one panel's rows of the table ``curves``: a column per batch size, a line per norm.

    Bands are the 10 to 90 % quantiles over seeds; a cross marks where runs have diverged.
    """
    import matplotlib.pyplot as plt
    import seaborn as sns

    norms = list(dict.fromkeys(curves["norm"]))
    sizes = sorted(curves["batch_size"].unique())
    colour, marker = colours(norms), markers(norms)
    with styled():
        columns = len(sizes) if len(sizes) <= 3 else 2 if len(sizes) == 4 else 3
        rows = -(-len(sizes) // columns)
        figure, axes = plt.subplots(
            rows, columns, figsize=(3.3 * columns, 2.5 * rows), sharey=True, squeeze=False
        )
        for axis, size in zip(axes.flat, sizes, strict=False):
            part = curves[curves["batch_size"] == size]
            for norm in norms:
                line = part[part["norm"] == norm]
                sns.lineplot(
                    data=line, x="epoch", y="median", ax=axis, color=colour[norm],
                    marker=marker[norm], markersize=4, label=norm, legend=False, errorbar=None,
                )  # fmt: skip
                axis.fill_between(
                    line["epoch"], line["low"], line["high"], color=colour[norm], alpha=0.15,
                    linewidth=0,
                )  # fmt: skip
                dead = line[line["diverged"] > 0]
                axis.plot(dead["epoch"], dead["median"], "x", color=colour[norm], markersize=7)
            for theta in thresholds:
                axis.axhline(theta, color="#808080", linestyle=(0, (4, 3)), linewidth=0.9)
            axis.set_title(f"batch size {size}")
            axis.set_xlabel("epoch")
            axis.set_ylabel(f"validation {part['metric'].iloc[0]}")
        for axis in axes.flat[len(sizes) :]:
            axis.set_visible(False)
        handles, labels = axes.flat[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="lower center", ncols=len(labels),
                      bbox_to_anchor=(0.5, 1.0))  # fmt: skip
        figure.tight_layout()
    return figure
