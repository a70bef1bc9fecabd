"""Error against batch size: every seed, and the mean of each norm."""

from __future__ import annotations

import numpy as np
import pandas as pd

from normbench.figures.canvas import FAINT, Canvas, Key
from normbench.figures.look import DASHES, Look
from normbench.figures.scales import Scale, linear, octaves

MOST_PANELS = 6


def error_limits(final: pd.DataFrame) -> Scale:
    """From 0 to the largest error of a run that did not diverge; means reach higher, if any."""
    lost = final["diverged"].to_numpy(dtype=bool)
    kept = final["error"][~lost] if (~lost).any() else final["error"]
    means = final.groupby(["setting", "norm", "batch_size"], sort=False)["error"].mean()
    return linear([*kept, *means], zero=True)


#: The width and height of a figure that stands by itself.
_WIDTH, _HEIGHT = 560.0, 190.0


def error_by_batch_size(
    final: pd.DataFrame, name: str, look: Look, label: str,
    *, width: float = _WIDTH, height: float = _HEIGHT,
) -> str:  # fmt: skip
    """Draw one experiment's rows of the table ``final`` over log₂ batch size.

    Dots are runs, crosses those that diverged; lines join the means over seeds. Norms stand side
    by side at each size.
    """
    norms = list(dict.fromkeys(final["norm"]))
    settings = list(dict.fromkeys(final["setting"]))[:MOST_PANELS]
    columns = min(len(settings), 2)
    canvas = Canvas(columns, width / columns - 10, height, legend=look.keys(norms))
    limits = error_limits(final)
    titles = look.labels(settings, 60 // columns + 10)
    for setting in settings:
        own = final[final["setting"] == setting]
        panel = canvas.panel(
            octaves([float(b) for b in final["batch_size"].unique()]), limits,
            title=titles[setting], across="batch size (log scale)", up=name,
        )  # fmt: skip
        for i, norm in enumerate(norms):
            shift = 2.0 ** (0.1 * (i - (len(norms) - 1) / 2))
            part = own[own["norm"] == norm]
            lost = part["diverged"].to_numpy(dtype=bool)
            xs = part["batch_size"].to_numpy(dtype=float) * shift
            ys = part["error"].to_numpy(dtype=float)
            panel.dots(xs[~lost], ys[~lost], look.colour[norm], opacity=0.4)
            panel.marks(xs[lost], ys[lost], look.colour[norm], "x", size=2.2)
            means = part.groupby("batch_size")["error"].mean().sort_index()
            places = means.index.to_numpy(dtype=float) * shift
            panel.line(places, means, look.colour[norm])
            panel.marks(places, means, look.colour[norm], look.marker[norm], size=3.4)
    return canvas.svg(label)


def error_by_statistics(
    evaluations: pd.DataFrame, final: pd.DataFrame, reference: str, name: str, look: Look,
    label: str,
) -> str:  # fmt: skip
    """Draw one experiment's rows of ``evaluations``: a dash per kind of statistics.

    ``final`` gives the reference norm, drawn in its own colour; a panel per norm and setting.
    """
    panels = list(dict.fromkeys(zip(evaluations["setting"], evaluations["norm"], strict=True)))
    panels = panels[:MOST_PANELS]
    kinds = list(dict.fromkeys(evaluations["evaluation"]))
    dashes = dict(zip(kinds, DASHES, strict=False))
    norms = list(dict.fromkeys(norm for _, norm in panels))
    keys = [Key(f"{kind} statistics", FAINT, dash=dashes[kind]) for kind in kinds]
    columns = min(len(panels), 2)
    canvas = Canvas(
        columns, 560.0 / columns - 10, 180.0, legend=[*look.keys([*norms, reference]), *keys]
    )
    base = final[final["norm"] == reference]
    drawn = pd.concat([evaluations, base.assign(evaluation="")], ignore_index=True)
    limits = error_limits(drawn)
    titles = look.labels([setting for setting, _ in panels], 40)
    for setting, norm in panels:
        own = evaluations[(evaluations["setting"] == setting) & (evaluations["norm"] == norm)]
        title = ", ".join(filter(None, [titles[setting], norm if len(norms) > 1 else ""]))
        panel = canvas.panel(
            octaves([float(b) for b in drawn["batch_size"].unique()]), limits,
            title=title, across="batch size (log scale)", up=name,
        )  # fmt: skip
        lines = [(own[own["evaluation"] == kind], norm, dashes[kind], kind) for kind in kinds]
        lines.append((base[base["setting"] == setting], reference, "", ""))
        for i, (part, who, dash, _) in enumerate(lines):
            shift = 2.0 ** (0.12 * (i - 1.5))
            xs = part["batch_size"].to_numpy(dtype=float) * shift
            panel.dots(xs, part["error"], look.colour[who], opacity=0.3)
            means = part.groupby("batch_size")["error"].mean().sort_index()
            places = means.index.to_numpy(dtype=float) * shift
            panel.line(places, means, look.colour[who], dash=dash)
            panel.marks(places, means, look.colour[who], look.marker[who], size=2.8)
    return canvas.svg(label)


def costs_by_batch_size(costs: pd.DataFrame, look: Look, label: str) -> str:
    """Draw one experiment's rows of the table ``costs``: step time and memory by batch size."""
    norms = list(dict.fromkeys(costs["norm"]))
    canvas = Canvas(2, 270.0, 160.0, legend=look.keys(norms))
    scale = octaves([float(b) for b in costs["batch_size"].unique()])
    milliseconds = costs[["step_seconds", "step_low", "step_high"]].to_numpy(dtype=float) * 1e3
    columns = [
        ("milliseconds a step", milliseconds),
        ("memory in MiB", np.repeat(costs[["memory"]].to_numpy(dtype=float), 3, axis=1)),
    ]
    for name, values in columns:
        finite = values[np.isfinite(values)].tolist()
        panel = canvas.panel(
            scale, linear(finite, zero=True), title=name, across="batch size (log scale)"
        )
        for i, norm in enumerate(norms):
            own = (costs["norm"] == norm).to_numpy()
            order = np.argsort(costs["batch_size"].to_numpy()[own], kind="stable")
            shift = 2.0 ** (0.06 * (i - (len(norms) - 1) / 2))
            xs = costs["batch_size"].to_numpy(dtype=float)[own][order] * shift
            middle, low, high = values[own][order].T
            panel.bars(xs, low, high, look.colour[norm])
            panel.line(xs, middle, look.colour[norm], width=1.0)
            panel.marks(xs, middle, look.colour[norm], look.marker[norm], size=2.8)
    return canvas.svg(label)
