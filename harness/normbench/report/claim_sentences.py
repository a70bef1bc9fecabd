"""Claims as sentences: what was found on each, for a reader who skips the table."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from normbench.protocol.claims import metric_parts
from normbench.protocol.resolved import ResolvedClaim
from normbench.protocol.study import Study
from normbench.report.phrases import SQUARED_ERROR, axes_text, measured, norm_name, p_value

#: The unit of ratios of times, which are kept as logarithms: 0 is as fast.
_RATIO = "times as fast"


def _unit(row: Mapping[Any, Any]) -> str:
    """The unit of a claim's effect; empty for pure numbers."""
    if row["endpoint"] == "time":
        return _RATIO if row.get("times") == "geometric-ratio" else "epochs"
    if row["endpoint"] == "diverged":
        return "share"
    probed = measured(str(row["metric"]))
    if probed is not None:
        return probed[1]
    if metric_parts(str(row["metric"]))[1] == "loss":
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


def _said_axes(axes: Mapping[str, str]) -> str:
    """Values of axes behind a norm: where and with what it is trained."""
    rest = dict(axes)
    size, inputs = rest.pop("batch_size", ""), rest.pop("input_norm", "")
    said = [f" at batch size {size}" if size else "", f" on {inputs} inputs" if inputs else ""]
    return "".join(said) + (f" with {axes_text(rest.items())}" if rest else "")


def _sides(claim: ResolvedClaim) -> tuple[str, str, str]:
    """Both sides of a claim as they are said, and the axes that they share, said once."""
    a, b = dict(claim.a_axes or {}), dict(claim.b_axes or {})
    shared = {axis: a[axis] for axis in a if axis != "norm" and a[axis] == b.get(axis)}
    if claim.kind in ("equivalence", "interaction"):  # these say their batch sizes themselves
        shared = {}
    said = [
        _side({axis: own for axis, own in axes.items() if axis not in shared}, evaluation)
        for axes, evaluation in ((a, claim.a_evaluation), (b, claim.b_evaluation))
    ]
    return said[0], claim.b_label if claim.itself else said[1], _said_axes(shared)


def _side(axes: dict[str, str], evaluation: str) -> str:
    tail = "" if evaluation == "running" else f" ({evaluation} statistics)"
    norm = axes.pop("norm", "")
    if norm:
        return f"{norm_name(norm)}{_said_axes(axes)}{tail}"
    return f"{axes_text(axes.items()) or 'all'}{tail}"


def _evidence(row: Mapping[Any, Any], unit: str, flip: bool = False) -> str:
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


def claim_sentence(row: Mapping[Any, Any], study: Study) -> str:
    """What a row of the table ``claims`` says, in one sentence."""
    claim = study.claim(str(row["claim"]))
    hypothesis = claim.hypothesis(str(row["hypothesis"]))
    reference = None
    if claim.itself:
        reference = study.experiment(claim.experiment).cells[hypothesis.b[0]].batch_size
    return _sentence(row, claim, hypothesis.batch_sizes, reference)


def _sentence(
    row: Mapping[Any, Any], claim: ResolvedClaim, sizes: tuple[int, ...], reference: int | None
) -> str:
    """``reference`` is the size that an invariance claim compares with."""
    (a, b, where), unit = _sides(claim), _unit(row)
    estimate = row.get("estimate", math.nan)
    if row["refusal"] or math.isnan(estimate):
        return f"No verdict on {a} against {b}{where}: {row['reason']}."
    if len(sizes) == 1 and "batch_size" not in (claim.a_axes or {}):
        where = f" at batch size {sizes[0]}{where}"
    worse = estimate < 0
    size = _number(abs(estimate), unit)
    probed = measured(str(row["metric"]))
    if probed is not None and row["endpoint"] != "diverged":
        return _probe_sentence(row, sizes, reference, (a, b, where), probed)
    split, quantity = metric_parts(str(row["metric"]))
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


def _time_said(row: Mapping[Any, Any], a: str, b: str, quantity: str) -> str:
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
    row: Mapping[Any, Any], sizes: tuple[int, ...], reference: int | None,
    sides: tuple[str, str, str], probed: tuple[str, str],
) -> str:  # fmt: skip
    """What a claim about a quantity that a probe gives says; see :func:`claim_sentence`."""
    (title, _), unit, (a, b, where) = probed, _unit(row), sides
    units = f" {unit}" if unit else ""
    estimate, worse = float(row["estimate"]), row["estimate"] < 0
    size = _number(abs(estimate), unit)
    named = " ".join(filter(None, ["the", _SAID.get(str(row["endpoint"]), ""), title]))
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


def claim_amount(row: Mapping[Any, Any], key: str) -> str:
    """A number of a claim's row, such as its ``estimate``, signed; empty if there is none."""
    value, unit = float(row[key]), _unit(row)
    if math.isnan(value):
        return ""
    text = _number(value, unit)
    if unit == _RATIO:
        return text
    return f"+{text}" if value > 0 and text.strip("0.") else text


def claim_unit(row: Mapping[Any, Any]) -> str:
    """The unit of a claim's effect."""
    return _unit(row)
