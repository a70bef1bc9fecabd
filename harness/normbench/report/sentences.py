"""Numbers as sentences: what a table row says, for a reader who skips the table."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any


def amount(value: float, metric: str, *, signed: bool = False) -> str:
    """An error difference in percentage points, or a loss difference in nat."""
    sign = "+" if signed else ""
    if metric == "accuracy":
        return f"{100 * value:{sign}.1f} points"
    return f"{value:{sign}.3f} nat"


def bare(value: float, metric: str, *, signed: bool = False) -> str:
    """As :func:`amount`, without the unit."""
    return amount(value, metric, signed=signed).split()[0]


def p_value(p: float) -> str:
    """A p-value with its sign: never rounded to nought."""
    if math.isnan(p):
        return ""
    if p < 0.0001:
        return "p < 0.0001"
    return f"p = {p:.2g}" if p >= 0.01 else f"p = {p:.1g}"


def norm_name(label: str) -> str:
    """A norm as it is said in a sentence."""
    spoken = {"none": "no normalization", "batch": "batch norm", "layer": "layer norm",
              "group": "group norm", "instance": "instance norm",
              "weight": "weight norm"}  # fmt: skip
    return spoken.get(label, f"{label} norm" if label.isalpha() else label)


def degradation_sentence(row: Mapping[Any, Any], metric: str, alpha: float) -> str:
    """What a row of the table ``degradation`` says."""
    norm, reference = norm_name(row["norm"]), norm_name(row["reference"])
    shrink = f"when the batch shrinks from {row['largest']} to {row['smallest']}"
    if row["refusal"]:
        return f"{norm} against {reference} {shrink}: no conclusion ({row['refusal']})."
    level = f"{100 * row['level']:.0f} % interval"
    interval = f"{level} {bare(row['low'], metric)} to {bare(row['high'], metric)}"
    tail = f"({interval}, {row['n']} seeds, {p_value(row['p'])})"
    decided = row["p"] <= alpha and (row["low"] > 0 or row["high"] < 0)
    if not decided:
        return (
            f"Whether {norm} loses more or less than {reference} {shrink} is undecided: "
            f"{amount(row['estimate'], metric, signed=True)} {tail}."
        )
    more = "more" if row["estimate"] > 0 else "less"
    size = amount(abs(row["estimate"]), metric)
    if row["estimate"] < 0:
        interval = f"{level} {bare(-row['high'], metric)} to {bare(-row['low'], metric)}"
        tail = f"({interval}, {row['n']} seeds, {p_value(row['p'])})"
    return f"{norm[0].upper()}{norm[1:]} loses {size} {more} than {reference} {shrink} {tail}."
