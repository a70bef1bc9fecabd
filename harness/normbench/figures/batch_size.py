"""Error against batch size: every seed, and the mean of each norm."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from normbench.figures.render import colours, markers, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def error_by_batch_size(final: pd.DataFrame, label: str) -> Figure:
    """Draw one panel's rows of the table ``final`` over log₂ batch size.

    Every dot is a run; lines join the means over seeds. Norms stand side by side at each size.
    """
    import matplotlib.pyplot as plt
    import seaborn as sns

    norms = list(dict.fromkeys(final["norm"]))
    sizes = sorted(final["batch_size"].unique())
    colour, marker = colours(norms), markers(norms)
    shift = {norm: 0.09 * (i - (len(norms) - 1) / 2) for i, norm in enumerate(norms)}
    data = final.assign(
        place=np.log2(final["batch_size"].to_numpy(dtype=float)) + final["norm"].map(shift)
    )
    means = data.groupby(["norm", "place"], sort=False)["error"].mean().reset_index()
    with styled():
        figure, axis = plt.subplots(figsize=(1.6 + 1.25 * len(sizes), 3.4))
        sns.scatterplot(
            data=data, x="place", y="error", hue="norm", style="norm", palette=colour,
            markers=marker, s=13, alpha=0.45, linewidth=0, ax=axis, legend=False,
        )  # fmt: skip
        for norm in norms:
            line = means[means["norm"] == norm].sort_values("place")
            axis.plot(line["place"], line["error"], color=colour[norm], marker=marker[norm],
                      markersize=6, label=norm)  # fmt: skip
        axis.set_xticks(np.log2(np.array(sizes, dtype=float)), [f"{s}" for s in sizes])
        axis.set_xlabel("batch size (log scale)")
        axis.set_ylabel(label)
        axis.set_ylim(bottom=0)
        axis.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure
