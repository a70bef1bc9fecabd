"""Time to threshold: the restricted mean of each norm at each batch size."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from normbench.figures.render import colours, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def time_to_threshold(times: pd.DataFrame) -> Figure:
    """Draw one panel's rows of the table ``times`` for one threshold.

    A bar is the restricted mean number of epochs; where not all runs reached the threshold,
    their share stands above it, and the dashed line is the budget at which all times end.
    """
    import matplotlib.pyplot as plt
    import seaborn as sns

    norms = list(dict.fromkeys(times["norm"]))
    sizes = sorted(times["batch_size"].unique())
    with styled():
        figure, axis = plt.subplots(figsize=(1.4 + 0.95 * len(sizes), 2.7))
        sns.barplot(
            data=times, x="batch_size", y="restricted_mean", hue="norm", order=sizes,
            hue_order=norms, palette=colours(norms), ax=axis, errorbar=None, saturation=0.9,
        )  # fmt: skip
        width = 0.8 / len(norms)
        for i, norm in enumerate(norms):
            for j, size in enumerate(sizes):
                row = times[(times["norm"] == norm) & (times["batch_size"] == size)]
                if row.empty:
                    continue
                place = j - 0.4 + width * (i + 0.5)
                reached, runs = int(row["reached"].iloc[0]), int(row["runs"].iloc[0])
                if reached == runs:
                    continue
                axis.annotate(
                    f"{reached}/{runs}", (place, float(row["restricted_mean"].iloc[0])),
                    ha="center", va="bottom", fontsize=6.5, xytext=(0, 1),
                    textcoords="offset points",
                )  # fmt: skip
        for budget in np.unique(times["budget"]):
            axis.axhline(budget, color="#808080", linestyle=(0, (4, 3)), linewidth=0.9)
        axis.set_xlabel("batch size")
        axis.set_ylabel("epochs to threshold\n(restricted mean)")
        axis.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), title=None)
    return figure
