"""Numbers as table cells and as parts of sentences."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from normbench.analysis.export import to_csv
from normbench.report.blocks import Value, Verdict
from normbench.report.phrases import SQUARED_ERROR, amount, bare, bare_p
from normbench.stats.result import CaveatKind


def text(value: object, *, hint: str = "", link: str = "", mark: Verdict = "") -> Value:
    """A word."""
    return Value(str(value), hint=hint, link=link, mark=mark)


def count(value: float) -> Value:
    """A whole number."""
    return Value("", sort=math.nan) if pd.isna(value) else Value(f"{value:,.0f}", sort=float(value))


def real(value: float, form: str = ".3g", *, hint: str = "") -> Value:
    """A number in a given form; nothing where there is none."""
    if pd.isna(value):
        return Value("", sort=math.nan, hint=hint)
    if math.isinf(value):
        return Value("∞" if value > 0 else "−∞", sort=value, hint=hint)
    return Value(minus(f"{value:{form}}"), sort=float(value), hint=hint)


def minus(shown: str) -> str:
    """A number with a true minus sign; no sign before a nought."""
    if not any(c in "123456789" for c in shown):
        shown = shown.lstrip("+-")
    return shown.replace("-", "−") if shown[:1] == "-" else shown


def difference(value: float, metric: str, *, hint: str = "") -> Value:
    """A difference of errors in points, or of losses, without the unit."""
    if pd.isna(value):
        return Value("", sort=math.nan, hint=hint)
    return Value(minus(bare(value, metric, signed=True)), sort=float(value), hint=hint)


def span(low: float, high: float, metric: str | None, *, form: str = "+.2f") -> Value:
    """An interval; of errors or losses if ``metric`` is given, sorted by its lower end."""
    if pd.isna(low) or pd.isna(high):
        return Value("", sort=math.nan)
    shown = [bare(v, metric, signed=True) if metric else f"{v:{form}}" for v in (low, high)]
    return Value(f"{minus(shown[0])} to {minus(shown[1])}", sort=float(low))


def probability(p: float) -> Value:
    """A p-value."""
    if pd.isna(p):
        return Value("", sort=math.nan)
    return Value(bare_p(p), sort=float(p))


def error(value: float, metric: str) -> str:
    """An error of accuracy in per cent, or a loss with its unit."""
    return f"{100 * value:.1f}\u00a0%" if metric == "accuracy" else amount(value, metric)


def unit(metric: str) -> str:
    """The unit of differences of a metric."""
    units = {"accuracy": "points", SQUARED_ERROR: "squared units of the labels"}
    return units.get(metric, "nat")


def error_name(metric: str) -> str:
    """What is small where a run is good."""
    return {"accuracy": "error", SQUARED_ERROR: SQUARED_ERROR}.get(metric, "loss")


#: Longer reasons stand in a table by what comes before their colon, all of it as hint.
MOST_LETTERS = 40
#: What a caveat is about, in a word; the rest stands in the hint alone.
_TAGS: dict[CaveatKind, str] = {
    "fragile": "fragile", "diverged": "diverged runs", "skewed": "skewed",
    "open-below": "open below", "open-above": "open above", "no-crossing": "no crossing",
    "ties": "ties", "drawn-signs": "drawn signs", "seeds-left-out": "seeds left out",
    "window": "longer window",
}  # fmt: skip


def note(row: Mapping[Any, Any], most: int | None = None) -> Value:
    """Why there is no result, or in a word what a reader must know of it, and all of it as hint.

    More than ``most`` letters of several words become the first of them.
    """
    if row["refusal"]:
        why = "; ".join(filter(None, [str(row["refusal"]), str(row["warnings"] or "")]))
        brief = why.partition(":")[0].partition(";")[0] if len(why) > MOST_LETTERS else why
        return Value(brief, hint=why if brief != why else "")
    said = minuses(str(row["warnings"] or ""))
    tags = [tag for kind, tag in _TAGS.items() if kind in row["caveats"]]
    shown = ", ".join(tags)
    if most is not None and len(shown) > most and len(tags) > 1:
        shown = f"{tags[0]} (+{len(tags) - 1})"
    return Value(shown or ("see the hint" if said else ""), hint=said)


def interval(row: Mapping[Any, Any], metric: str) -> str:
    """The interval of a row in words, with the unit."""
    low, high = (minus(bare(row[k], metric)) for k in ("low", "high"))
    return f"{100 * row['level']:g} % interval {low} to {high}"


def signed(value: float, metric: str) -> str:
    """A signed difference with its unit."""
    return minus(amount(value, metric, signed=True))


def listed(words: Iterable[object], joint: str = "and") -> str:
    """Words as a list in a sentence."""
    found = [str(w) for w in words]
    if len(found) < 2:
        return "".join(found)
    return f"{', '.join(found[:-1])} {joint} {found[-1]}"


def plural(number: float, one: str, many: str = "") -> str:
    """A number with its noun."""
    return f"{number:,.0f} {one if number == 1 else many or one + 's'}"


def minuses(said: str) -> str:
    """A text with true minus signs before numbers."""
    return re.sub(r"(?<![\w)-])-(?=\d)", "−", said)


def capital(sentence: str) -> str:
    """A sentence with a capital letter, and true minus signs before numbers."""
    return minuses(sentence[:1].upper() + sentence[1:])


def sizes(values: Sequence[int]) -> str:
    """Batch sizes in a sentence."""
    return f"batch size{'s' if len(values) > 1 else ''} {listed(values)}"


def csv(frame: pd.DataFrame) -> str:
    """A figure's data as CSV, five digits each; the tables of results have them all."""
    return to_csv(frame, float_format="%.5g")
