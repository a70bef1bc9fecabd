"""Time to threshold: every seed, the restricted mean and its interval, for each norm."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from normbench.figures.canvas import Canvas, Panel
from normbench.figures.cases import axis_name, cases
from normbench.figures.look import Look, beside
from normbench.figures.scales import decades, linear, slots

MOST_CASES = 8


def time_to_threshold(
    times: pd.DataFrame, runs: pd.DataFrame, look: Look, label: str, *, seconds: bool = False
) -> str:
    """Draw one experiment's rows of ``times`` and ``run_times``, a panel per threshold.

    Dots are seeds, hollow ones never reached the threshold and stand at the budget, crosses
    diverged before. Markers are restricted means with their intervals; where not all runs
    reached the threshold, their share stands above. ``seconds`` draws isolated seconds.
    """
    norms = list(dict.fromkeys(times["norm"]))
    found = cases(times, MOST_CASES, look)
    thresholds = list(dict.fromkeys(times["threshold"]))
    lettered = 5.0 * sum(len(case.label) + 2 for case in found)
    width = min(640.0, max(150.0, lettered, 17.0 * len(norms) * len(found)))
    columns = max(1, min(len(thresholds), int(680 // (width + 58))))
    canvas = Canvas(columns, width, 150.0, legend=look.keys(norms))
    unit = "seconds" if seconds else "epochs"
    for theta in thresholds:
        own, every = (f[f["threshold"] == theta] for f in (times, runs))
        factor = own["seconds"] / own["restricted_mean"] if seconds else None
        scale = linear([1.12 * own["budget"].max(), 0.0], zero=True)
        if factor is not None:
            spent = every.merge(own, on=["setting", "norm", "batch_size"], suffixes=("", "_mean"))
            spent = spent["time"] * spent["seconds"] / spent["restricted_mean"]
            scale = decades([*spent, 2.0 * (own["budget"] * factor).max()])
        panel = canvas.panel(
            slots([c.label for c in found]), scale,
            title=f"to {own['metric'].iloc[0]} {theta:g}" if "metric" in own else f"to {theta:g}",
            across=axis_name(times, look), up=f"{unit} to threshold",
        )  # fmt: skip
        keys = ["setting", "batch_size", "norm"]
        rows = dict(zip(zip(*(own[k] for k in keys), strict=True), own.to_dict("records"),
                        strict=True))  # fmt: skip
        seeds = dict(iter(every.groupby(keys, sort=False)))
        for place, case in enumerate(found):
            for i, norm in enumerate(norms):
                key = (case.setting, case.batch_size, norm)
                if key in rows:
                    at = (place, i, len(norms))
                    _cell(panel, rows[key], seeds[key], look, at, seconds)
    return canvas.svg(label)


def _cell(
    panel: Panel, row: Mapping[Any, Any], seeds: pd.DataFrame, look: Look, at: tuple[int, int, int],
    seconds: bool,
) -> None:  # fmt: skip
    place, index, count = at
    colour, norm = look.colour[str(row["norm"])], str(row["norm"])
    factor = float(row["seconds"] / row["restricted_mean"]) if seconds else 1.0
    if not np.isfinite(factor):
        return
    xs, ys = beside(place, index, count, len(seeds)), seeds["time"].to_numpy(dtype=float) * factor
    reached, lost = (seeds[c].to_numpy(dtype=bool) for c in ("reached", "diverged"))
    panel.dots(xs[reached], ys[reached], colour)
    late = ~reached & ~lost
    panel.marks(xs[late], ys[late], colour, "o", size=1.7, hollow=True)
    panel.marks(xs[~reached & lost], ys[~reached & lost], colour, "x", size=2.0)
    middle = beside(place, index, count, 1)
    names = ("seconds", "seconds_low", "seconds_high") if seconds else (
        "restricted_mean", "low", "high")  # fmt: skip
    mean, low, high = ([float(row[n])] for n in names)
    panel.bars(middle, low, high, colour, width=1.6)
    panel.marks(middle, mean, colour, look.marker[norm], size=3.0)
    if int(row["reached"]) < int(row["runs"]):
        panel.note(float(middle[0]), panel.y.high, f"{row['reached']}/{row['runs']}",
                   down=8.0 + 7.0 * (index % 2))  # fmt: skip
