"""Features in different units: the path of gradient descent, and its steps to a tolerance."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from normbench.figures.canvas import FAINT, Canvas, Key
from normbench.figures.render import BLUE, GREEN, GREY, MARKERS, PURPLE, VERMILION
from normbench.figures.scales import Floats, Scale, decades, linear

#: Colours of input normalizations, apart from each other as those of norms are.
_COLOURS = {
    "raw": VERMILION,
    "centred": GREY,
    "global": GREEN,
    "per-channel": BLUE,
    "imagenet": PURPLE,
}
#: Contours through these shares of the loss at the start of the path.
_LEVELS = (1.0, 0.5, 0.2, 0.05)
_WIDTH, _HEIGHT = 250.0, 190.0
#: Points of half a contour.
_POINTS = 121
_RAISED = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


def three_digits(value: float) -> str:
    """A condition number to three digits, in full."""
    return "∞" if math.isinf(value) else f"{float(f'{value:.3g}'):,.10g}"


def contour(
    row: Mapping[Any, Any], level: float, low: float, high: float
) -> list[tuple[Floats, Floats]]:
    """The weights at which ½·(w − x)ᵀ·h·(w − x) is ``level``, with the second from low to high.

    The left and the right half of the ellipse, however long it is beyond that range; nothing where
    it lies outside.
    """
    h11, h12 = float(row["h11"]), float(row["h12"])
    across = math.sqrt(2.0 * level * h11)
    up = across / math.sqrt(h11 * float(row["h22"]) - h12**2)
    ends = np.clip((np.array([low, high]) - row["x2"]) / up, -1.0, 1.0)
    if not ends[0] < ends[1]:
        return []
    angles = np.linspace(math.asin(ends[0]), math.asin(ends[1]), _POINTS)
    dy = up * np.sin(angles)
    return [
        (row["x1"] + (side * across * np.cos(angles) - h12 * dy) / h11, row["x2"] + dy)
        for side in (-1.0, 1.0)
    ]


def _same_scales(path: pd.DataFrame, row: Mapping[Any, Any]) -> tuple[Scale, Scale]:
    """Axes around the path and the centre on which both weights have the same scale."""
    ends = []
    for name in ("x1", "x2"):
        values = [*path[name], row[name]]
        ends.append((min(values), max(values)))
    sized = list(zip(ends, (_WIDTH, _HEIGHT), strict=True))
    per_point = max(1e-9, *((high - low) * 1.25 / size for (low, high), size in sized))
    found = []
    for (low, high), size in sized:
        middle, half = (low + high) / 2, per_point * size / 2
        ticks = linear([middle - 0.9 * half, middle + 0.9 * half], count=4).ticks
        found.append(Scale(middle - half, middle + half, ticks))
    return found[0], found[1]


def _within(xs: Floats, ys: Floats, x: Scale, y: Scale) -> tuple[Floats, Floats]:
    """Points with a gap where they lie outside the axes."""
    inside = (xs >= x.low) & (xs <= x.high) & (ys >= y.low) & (ys <= y.high)
    return np.where(inside, xs, np.nan), np.where(inside, ys, np.nan)


def _powers(values: Iterable[float]) -> Scale:
    """A logarithmic axis whose large ticks are short: powers of ten from 10⁴ on."""
    found = decades(values)
    ticks = tuple(
        (v, f"10{str(round(math.log10(v))).translate(_RAISED)}" if v >= 1e4 else label)
        for v, label in found.ticks
        if v < 1e4 or math.isclose(math.log10(v), round(math.log10(v)))
    )
    return Scale(found.low, found.high, ticks, log=True)


def descent_paths(paths: pd.DataFrame, contours: pd.DataFrame, label: str) -> str:
    """Draw rows of ``scale_paths`` on rows of ``scale_contours``, a panel per row of the latter."""
    canvas = Canvas(
        min(2, len(contours)), _WIDTH, _HEIGHT,
        legend=[Key("equal loss", FAINT), Key("gradient descent", VERMILION, "o"),
                Key("least loss", BLUE, "*")],
    )  # fmt: skip
    for row in contours.to_dict("records"):
        path = paths[
            (paths["input_norm"] == row["input_norm"]) & (paths["setting"] == row["setting"])
        ]
        x, y = _same_scales(path, row)
        panel = canvas.panel(
            x, y, across=f"weight of {row['feature1']}", up=f"weight of {row['feature2']}",
            title=f"{row['input_norm']} inputs, condition number {three_digits(row['condition'])}",
        )  # fmt: skip
        away = path[["x1", "x2"]].to_numpy(dtype=float)[0] - [row["x1"], row["x2"]]
        h = np.array([[row["h11"], row["h12"]], [row["h12"], row["h22"]]])
        first = 0.5 * float(away @ h @ away)
        for share in _LEVELS:
            for half in contour(row, share * first, y.low, y.high):
                panel.line(*_within(*half, x, y), FAINT, width=0.8)
        panel.line(path["x1"], path["x2"], VERMILION, width=1.0)
        panel.marks(path["x1"], path["x2"], VERMILION, "o", size=1.7)
        panel.marks([row["x1"]], [row["x2"]], BLUE, "*", size=5.0)
    return canvas.svg(label)


def steps_by_condition(table: pd.DataFrame, label: str) -> str:
    """Draw rows of ``scale``: steps to a tolerance against the condition number, with theory.

    Filled: measured, with its interval; hollow: not every run got there, so that the budget
    stands in. Crosses: predicted. The line is the rule of thumb.
    """
    kinds = list(dict.fromkeys(table["input_norm"]))
    marker = {kind: MARKERS[i % len(MARKERS)] for i, kind in enumerate(kinds)}
    colour = {kind: _COLOURS.get(kind, FAINT) for kind in kinds}
    keys = [Key(f"{kind} inputs", colour[kind], marker[kind]) for kind in kinds]
    finite = table[np.isfinite(table["condition"])]
    shown = [*finite["measured"], *finite["predicted"], *finite["rule"]]
    canvas = Canvas(1, 360.0, 200.0, legend=[*keys, Key("κ·ln(1/tolerance)/2", FAINT, dash="6 3")])
    panel = canvas.panel(
        _powers([*finite["condition"], 2.0]), _powers([v for v in shown if v > 0] or [1.0]),
        across="condition number κ (log scale)", up="steps (log scale)",
    )  # fmt: skip
    ordered = finite.sort_values("condition")
    panel.line(ordered["condition"], ordered["rule"], FAINT, dash="6 3", width=1.0)
    for kind in kinds:
        own = finite[finite["input_norm"] == kind]
        whole = own["reached"] == own["runs"]
        panel.bars(own["condition"], own["low"], own["high"], colour[kind])
        for part, hollow in ((own[whole], False), (own[~whole], True)):
            panel.marks(part["condition"], part["measured"], colour[kind], marker[kind],
                        size=3.6, hollow=hollow)  # fmt: skip
        predicted = own["predicted"].where(own["predicted"].map(math.isfinite))
        panel.marks(own["condition"], predicted, colour[kind], "x", size=2.6)
    return canvas.svg(label)
