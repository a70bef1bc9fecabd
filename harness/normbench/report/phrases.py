"""Names and numbers as they are said in a sentence."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from normbench.analysis.settings import Setting
from normbench.catalog import NORMS, quantity
from normbench.errors import UsageError
from normbench.protocol.claims import probe_parts

#: What the loss of a regression is called: it has the squared unit of the labels, and not nat.
SQUARED_ERROR = "squared error"


def bare(value: float, metric: str, *, signed: bool = False) -> str:
    """A difference of errors in points, or of losses, without the unit."""
    sign = "+" if signed else ""
    return f"{100 * value:{sign}.1f}" if metric == "accuracy" else f"{value:{sign}.3f}"


def amount(value: float, metric: str, *, signed: bool = False) -> str:
    """An error difference in points, a cross-entropy difference in nat, or one without a unit."""
    unit = {"accuracy": " points", SQUARED_ERROR: ""}.get(metric, " nat")
    return bare(value, metric, signed=signed) + unit


def bare_p(p: float) -> str:
    """A p-value as a number, never rounded to nought; nothing where there is none."""
    if math.isnan(p):
        return ""
    if p < 0.0001:
        return "< 0.0001"
    return f"{p:.2g}" if p >= 0.01 else f"{p:.1g}"


def p_value(p: float) -> str:
    """A p-value with its sign; nothing where there is none."""
    shown = bare_p(p)
    return f"p {shown}" if p < 0.0001 else f"p = {shown}" if shown else ""


def norm_name(label: str) -> str:
    """A norm as it is said in a sentence."""
    name, _, params = label.partition("(")
    title = NORMS[name].title if name in NORMS else ""
    if params and title:
        return f"{title} ({params.removesuffix(')').replace('=', ' ')})"
    return title or (f"{label} norm" if label.isalpha() else label)


def degradation_sentence(row: Mapping[Any, Any], metric: str) -> str:
    """What a row of the table ``degradation`` says."""
    norm, reference = norm_name(row["norm"]), norm_name(row["reference"])
    shrink = f"when the batch shrinks from {row['largest']} to {row['smallest']}"
    if row["refusal"]:
        return f"{norm} against {reference} {shrink}: no conclusion ({row['refusal']})."
    if math.isnan(row["adjusted_p"]):
        return f"{norm} against {reference} {shrink}: no conclusion ({row['warnings']})."
    level, fragile = f"{100 * row['level']:.0f} % interval", ", fragile" if row["fragile"] else ""
    interval = f"{level} {bare(row['low'], metric)} to {bare(row['high'], metric)}"
    tail = f"({interval}, {row['n']} seeds, adjusted {p_value(row['adjusted_p'])}{fragile})"
    if row["finding"] == "undecided":
        return (
            f"Whether {norm} loses more or less than {reference} {shrink} is undecided: "
            f"{amount(row['estimate'], metric, signed=True)} {tail}."
        )
    more = "more" if row["estimate"] > 0 else "less"
    size = amount(abs(row["estimate"]), metric)
    if row["estimate"] < 0:
        interval = f"{level} {bare(-row['high'], metric)} to {bare(-row['low'], metric)}"
        tail = f"({interval}, {row['n']} seeds, adjusted {p_value(row['adjusted_p'])}{fragile})"
    return f"{norm[0].upper()}{norm[1:]} loses {size} {more} than {reference} {shrink} {tail}."


def measured(metric: str) -> tuple[str, str] | None:
    """What a probe's metric is called in a sentence, and its unit; None for any other metric."""
    parts = probe_parts(metric)
    if parts is None:
        return None
    name, layer = parts
    try:
        found = quantity(name)
        title, unit = found.title, found.unit
    except UsageError:  # of a package that is not installed here
        title, unit = name, ""
    return title + (f" of layer {layer}" if layer else ""), unit


#: Axes as they are said, where a protocol's name for them is no word.
_AXES = {
    "input_norm": "input normalization", "input_units": "input units",
    "lr_schedule": "learning-rate schedule", "lr_scaling": "learning-rate scaling",
    "norm_batch_size": "ghost batches of size", "init": "initial weights",
}  # fmt: skip


def axis_name(axis: str) -> str:
    """An axis of a protocol as it is said in a sentence."""
    return _AXES.get(axis, axis.replace("_", " "))


def axes_text(axes: Iterable[tuple[str, str]]) -> str:
    """Axes with their values in words."""
    return ", ".join(f"{axis_name(axis)} {value}".strip() for axis, value in axes)


def setting_text(setting: Setting) -> str:
    """A setting in words."""
    return axes_text((axis, level.text) for axis, level in setting.axes)
