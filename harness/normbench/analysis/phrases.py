"""Numbers as sentences: what a table row says, for a reader who skips the table."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from normbench.analysis.labels import split
from normbench.catalog import quantity
from normbench.errors import UsageError
from normbench.protocol.claims import probe_parts

#: What the loss of a regression is called: it has the squared unit of the labels, and not nat.
SQUARED_ERROR = "squared error"


def amount(value: float, metric: str, *, signed: bool = False) -> str:
    """An error difference in points, a cross-entropy difference in nat, or one without a unit."""
    sign = "+" if signed else ""
    if metric == "accuracy":
        return f"{100 * value:{sign}.1f} points"
    return f"{value:{sign}.3f}" + (" nat" if metric != SQUARED_ERROR else "")


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
              "weight": "weight norm", "batch-renorm": "batch renorm",
              "batch-frozen": "frozen batch norm", "layer-channels": "layer norm over channels",
              "rms": "RMS norm", "lrn": "local response norm",
              "weight-standardized": "weight standardization with group norm",
              "dyt": "dynamic tanh"}  # fmt: skip
    name, _, params = label.partition("(")
    if params and name in spoken:
        return f"{spoken[name]} ({params.removesuffix(')').replace('=', ' ')})"
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


#: The unit of ratios of times, which are kept as logarithms: 0 is as fast.
_RATIO = "times as fast"


def _unit(row: Mapping[str, Any]) -> str:
    """The unit of a claim's effect; empty for pure numbers."""
    if row["endpoint"] == "time":
        return _RATIO if row.get("times") == "geometric-ratio" else "epochs"
    if row["endpoint"] == "diverged":
        return "share"
    probed = measured(str(row["metric"]))
    if probed is not None:
        return probed[1]
    if str(row["metric"]).endswith("loss"):
        return "" if row.get("task") == "regression" else "nat"
    return "points"


def _number(value: float, unit: str) -> str:
    if unit == "points":
        return f"{100 * value:.1f}"
    if unit == "epochs":
        return f"{value:.2f}"
    if unit == _RATIO:
        return f"{math.exp(value):.2f}"
    return f"{value:.3f}" if unit in ("nat", "share") else f"{value:.3g}"


#: Axes as they are said, where a protocol's name for them is no word.
_AXES = {
    "input_norm": "input normalization", "input_units": "input units",
    "lr_schedule": "learning-rate schedule", "lr_scaling": "learning-rate scaling",
    "norm_batch_size": "ghost batches of size", "init": "initial weights",
}  # fmt: skip


def axis_name(axis: str) -> str:
    """An axis of a protocol as it is said in a sentence."""
    return _AXES.get(axis, axis.replace("_", " "))


def setting_text(setting: str) -> str:
    """A setting such as ``input_norm=raw, epochs=5`` in words."""
    named = [part.partition("=") for part in split(setting)]
    return ", ".join(f"{axis_name(axis)} {value}" if sign else axis for axis, sign, value in named)


def _said_axes(axes: list[str]) -> str:
    """Values of axes behind a norm: where and with what it is trained."""
    size = [f"at batch size {a.partition('=')[2]}" for a in axes if a.startswith("batch_size=")]
    inputs = [f"on {a.partition('=')[2]} inputs" for a in axes if a.startswith("input_norm=")]
    others = [a for a in axes if not a.startswith(("batch_size=", "input_norm="))]
    rest = [f"with {setting_text(', '.join(others))}"] if others else []
    return "".join(f" {words}" for words in (*size, *inputs, *rest))


def _sides(row: Mapping[str, Any]) -> tuple[str, str, str]:
    """Both sides of a claim as they are said, and the axes that they share, said once."""
    found = []
    for label in (str(row["a"]), str(row["b"])):
        statistics = re.search(r" \(\w+ statistics\)$", label)
        tail = statistics[0] if statistics else ""
        axes = split(label.removesuffix(tail))
        norm = axes.pop(0) if not re.match(r"\w+=", axes[0]) else ""
        found.append((norm, axes, tail))
    shared: list[str] = []
    if row["kind"] not in ("equivalence", "interaction"):  # these say their batch sizes themselves
        shared = [axis for axis in found[0][1] if axis in found[1][1]]
    said = []
    for norm, axes, tail in found:
        own = [axis for axis in axes if axis not in shared]
        if norm:
            name = norm if norm in ("itself", "all") else norm_name(norm)
            said.append(f"{name}{_said_axes(own)}{tail}")
        else:
            said.append(f"{setting_text(', '.join(own))}{tail}")
    return said[0], said[1], _said_axes(shared)


def _evidence(row: Mapping[str, Any], unit: str, flip: bool = False) -> str:
    parts = []
    if not math.isnan(row.get("low", math.nan)):
        low, high = row["low"], row["high"]
        if flip:
            low, high = -high, -low
        parts.append(
            f"{100 * row['level']:.0f} % interval {_number(low, unit)} to {_number(high, unit)}"
        )
    parts.append(f"{row['n']} seeds")
    if not math.isnan(row.get("adjusted_p", math.nan)):
        parts.append("adjusted " + p_value(row["adjusted_p"]))
    lost = row["diverged_a"] + row["diverged_b"]
    if lost:
        parts.append(f"{lost} runs diverged")
    return ", ".join(parts)


def claim_sentence(
    row: Mapping[str, Any], sizes: tuple[int, ...], reference: int | None = None
) -> str:
    """What a row of the table ``claims`` says, in one sentence.

    ``sizes`` are the hypothesis's batch sizes, ``reference`` the size that an invariance claim
    compares with.
    """
    (a, b, where), unit = _sides(row), _unit(row)
    estimate = row.get("estimate", math.nan)
    if row["refusal"] or math.isnan(estimate):
        return f"No verdict on {a} against {b}{where}: {row['reason']}."
    if len(sizes) == 1 and "batch_size=" not in row["a"]:
        where = f" at batch size {sizes[0]}{where}"
    worse = estimate < 0
    size = _number(abs(estimate), unit)
    probed = measured(str(row["metric"]))
    if probed is not None and row["endpoint"] != "diverged":
        return _probe_sentence(row, sizes, reference, (a, b, where), probed)
    split, _, quantity = str(row["metric"]).partition("_")
    split = {"val": "validation"}.get(split, split)
    if quantity == "loss" and row.get("task") == "regression":
        quantity = SQUARED_ERROR
    units = f" {unit}" if unit else ""
    if row["kind"] == "equivalence":
        against = f"its value at batch size {reference}" if reference is not None else b
        margin = f"{_number(row['margin'], unit)}{units}"
        said = {
            "supported": f"{a} stays within {margin} of {against}",
            "refuted": f"{a} does not stay within {margin} of {against}",
        }.get(row["verdict"], f"Whether {a} stays within {margin} of {against} is undecided")
        text = f"{said} ({_listed(sizes)}; largest difference {_number(estimate, unit)}, "
        return _capital(f"{text}{_evidence(row, unit)}).")
    if row["kind"] == "interaction":
        shrink = f"when the batch shrinks from {max(sizes)} to {min(sizes)}"
        more = "less" if worse else "more"
        said = f"{b} loses {size}{units} {more} than {a} {shrink}"
    elif row["endpoint"] == "time":
        said = _time_said(row, a, b, f"{split} {quantity}")
    elif row["endpoint"] == "diverged":
        share = f"{100 * estimate:.0f} % of the seeds in which only one of them diverged"
        said, worse = f"it was {b} that diverged, and not {a}, in {share}", False
    else:
        word = "lower" if worse == (quantity == "accuracy") else "higher"
        kind = _SAID[str(row["endpoint"])]
        said = f"the {kind} {split} {quantity} of {a} is {size}{units} {word} than that of {b}"
    margin = f", margin {_number(row['margin'], unit)}" if row["margin"] else ""
    text = f"{said}{where} ({_evidence(row, unit, flip=worse)}{margin})."
    if row["verdict"] == "inconclusive":
        return f"Undecided: {text}"
    return _capital(text)


def _listed(sizes: tuple[int, ...]) -> str:
    return f"batch size{'s' if len(sizes) > 1 else ''} {', '.join(map(str, sizes))}"


def _time_said(row: Mapping[str, Any], a: str, b: str, quantity: str) -> str:
    """How much earlier, or how many times as fast, one side reaches a level than the other."""
    unit, worse = _unit(row), row["estimate"] < 0
    size = _number(abs(row["estimate"]), unit)
    level = f"{a} reaches a {quantity} of {row['threshold']:.3g}"
    if unit == _RATIO:
        return f"{level}, {size} times as {'slowly' if worse else 'fast'} as {b}"
    return f"{level}, {size} epochs {'later' if worse else 'earlier'} than {b}"


#: How the endpoints of a metric are said.
_SAID = {"final": "final", "best": "best", "aulc": "mean"}


def _probe_sentence(
    row: Mapping[str, Any], sizes: tuple[int, ...], reference: int | None,
    sides: tuple[str, str, str], probed: tuple[str, str],
) -> str:  # fmt: skip
    """What a claim about a quantity that a probe gives says; see :func:`claim_sentence`."""
    (title, _), unit, (a, b, where) = probed, _unit(row), sides
    units = f" {unit}" if unit else ""
    estimate, worse = float(row["estimate"]), row["estimate"] < 0
    size = _number(abs(estimate), unit)
    named = f"the {_SAID.get(str(row['endpoint']), '')} {title}".replace("  ", " ")
    if row["endpoint"] == "time":
        named = f"the time to a {title} of {row['threshold']:.3g}"
    if row["kind"] == "equivalence":
        of = f"that at batch size {reference}" if reference is not None else f"that of {b}"
        margin = f"{_number(row['margin'], unit)}{units} of {of}"
        said = {
            "supported": f"{named} of {a} stays within {margin}",
            "refuted": f"{named} of {a} does not stay within {margin}",
        }.get(row["verdict"], f"whether {named} of {a} stays within {margin} is undecided")
        said += f" ({_listed(sizes)}; largest difference {_number(estimate, unit)}, "
        return _capital(f"{said}{_evidence(row, unit)}).")
    if row["kind"] == "interaction":
        shrink = f"when the batch shrinks from {max(sizes)} to {min(sizes)}"
        more = "less" if worse else "more"
        said = f"{named} of {b} worsens by {size}{units} {more} than that of {a} {shrink}"
    elif row["endpoint"] == "time":
        said = _time_said(row, a, b, title)
    else:
        smaller = (row["goal"] == "min") != worse
        word = "smaller" if smaller else "larger"
        said = f"{named} of {a} is {size}{units} {word} than that of {b}"
    margin = f", margin {_number(row['margin'], unit)}" if row["margin"] else ""
    text = f"{said}{where} ({_evidence(row, unit, flip=worse)}{margin})."
    return f"Undecided: {text}" if row["verdict"] == "inconclusive" else _capital(text)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def claim_amount(row: Mapping[str, Any], key: str) -> str:
    """A number of a claim's row, such as its ``estimate``, signed; empty if there is none."""
    value, unit = float(row[key]), _unit(row)
    if math.isnan(value):
        return ""
    text = _number(value, unit)
    if unit == _RATIO:
        return text
    return f"+{text}" if value > 0 and text.strip("0.") else text


def claim_unit(row: Mapping[str, Any]) -> str:
    """The unit of a claim's effect."""
    return _unit(row)
