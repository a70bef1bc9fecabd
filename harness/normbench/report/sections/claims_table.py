"""The claims with their verdicts as one table."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import pandas as pd

from normbench.analysis.phrases import claim_amount, claim_unit, measured
from normbench.report import boundary, words
from normbench.report.blocks import Column, Items, Table, Value, Verdict
from normbench.report.source import Source

_VERDICTS: dict[str, Verdict] = {
    "supported": "supported", "refuted": "refuted", "inconclusive": "inconclusive", "void": "void",
}  # fmt: skip
#: More seeds than this are not worth a number.
MOST_SEEDS = 1000
#: As many claims are put into sentences below their table.
MOST_SENTENCES = 12
#: Claims about these rest on the part about the scale of features.
LINEAR_METRICS = ("probe:excess-loss", "probe:linear-weights", "probe:update-share")


def seeds_text(needed: float, present: int) -> str:
    """How many seeds would decide, and how many that is more; empty where it is not known."""
    if math.isnan(needed):
        return ""
    if needed > MOST_SEEDS:
        return f"more than {MOST_SEEDS:,} seeds"
    more = int(needed) - present
    tail = f" ({more} more than now)" if more > 0 else " (no more than now: chance decides)"
    return f"about {needed:.0f} seeds{tail}"


def _wanted(row: Mapping[Any, Any]) -> str:
    """The part of the page that is about what a claim is about."""
    sides = f"{row['a']} {row['b']}"
    if row["endpoint"] == "diverged":
        return "completeness"
    if str(row["metric"]).startswith(LINEAR_METRICS):
        return "scale"
    if measured(str(row["metric"])) is not None:
        return "mechanisms"
    if row["endpoint"] == "time":
        return "convergence"
    if row["kind"] == "interaction" or row["b"] == "itself" or "statistics)" in sides:
        return "small-batches"
    inputs = [re.findall(r"input_norm=([^,]+)", str(row[side])) for side in ("a", "b")]
    return "inputs" if inputs[0] != inputs[1] else "pairwise"


def evidence(source: Source, row: Mapping[Any, Any]) -> str:
    """The anchor of what a claim rests on; of the learning curves where it has no part."""
    wanted, series = _wanted(row), source.study.experiment(row["experiment"])
    if wanted == "completeness":
        return wanted
    there = {
        "scale": any(not source.rows(t, series).empty for t in ("scale", "scale_shares")),
        "mechanisms": not source.rows("mechanisms", series).empty,
        "small-batches": source.rows("final", series)["batch_size"].nunique() > 1,
        "inputs": "input_norm" in series.varies,
        "pairwise": not source.rows("pairs", series).empty,
    }
    if there.get(wanted, False):
        return f"{wanted}-{series.name}"
    if source.rows("curves", series).empty:
        return "completeness"
    return f"convergence-{series.name}"


def _verdict(row: Mapping[Any, Any]) -> Value:
    marks = ["fragile"] if row["fragile"] else []
    if row["exploratory"]:
        late = "seeds added after a look"
        marks.append(f"exploratory: {late}" if late in row["deviation"] else "exploratory")
    expected = ""
    if row["expect"]:
        kept = row["as_expected"] == "true"
        marks += [] if kept else [f"expected: {row['expect']}"]
        expected = "as expected" if kept else ""
    hint = "; ".join(filter(None, [str(row["reason"]), expected, str(row["deviation"])]))
    shown = ", ".join([row["verdict"], *marks])
    return Value(shown, mark=_VERDICTS[row["verdict"]], hint=hint)


def _row(source: Source, row: Mapping[Any, Any]) -> list[Value]:
    unit = claim_unit(row)
    span = " to ".join(filter(None, (claim_amount(row, k) for k in ("low", "high"))))
    wide = " to ".join(
        filter(None, (claim_amount(row, k) for k in ("simultaneous_low", "simultaneous_high")))
    )
    effect = claim_amount(row, "estimate")
    told = " ".join(filter(None, [str(row["text"]), sentence(row)]))
    undecided = row["verdict"] == "inconclusive"
    needed = seeds_text(row["seeds_to_decide"], row["n"]) if undecided else ""
    hint = "; ".join(
        filter(None, [f"would decide: {needed}" if needed else "", str(row["warnings"])])
    )
    hint = words.minuses(hint)
    return [
        Value(str(row["hypothesis"]), link=evidence(source, row), hint=told),
        _verdict(row),
        Value(
            words.minus(effect) + (f" {unit}" if effect and unit else ""),
            sort=float(row["estimate"]),
        ),
        Value(
            " to ".join(map(words.minus, span.split(" to "))) if span else "",
            sort=float(row["low"]),
            hint=words.minuses(f"all claims of the family at once: {wide}") if wide else "",
        ),
        words.probability(row["adjusted_p"]),
        Value(str(row["n"]), sort=row["n"], hint=hint),
        Value(str(row["chapter"])),
    ]


def sentence(row: Mapping[Any, Any]) -> str:
    """What was found, in a sentence."""
    return words.capital(str(row["sentence"]).replace("batch_size=", "batch size "))


def in_words(claims: pd.DataFrame) -> Items:
    """What was found on each claim, in sentences; the first of them where there are many."""
    rows = claims.head(MOST_SENTENCES).to_dict("records")
    items: list[str | tuple[str, str]] = [(str(r["hypothesis"]), sentence(r)) for r in rows]
    if len(claims) > len(rows):
        items.append(("and more", f"{len(claims) - len(rows)} further ones: see the table's hints"))
    return Items(items, title="What was found")


@boundary.block("the table of claims")
def claims_table(source: Source, claims: pd.DataFrame, anchor: str, caption: str) -> Table:
    """Claims with effect, interval, seeds, what the chapter says; each a link to its evidence."""
    columns = [
        Column("claim", doc="the hypothesis, as a link to its evidence; a claim over several batch "
               "sizes may have several"),
        Column("verdict", doc="supported or refuted at the family's error rate, else inconclusive; "
               "void: a cell is undefined or was not run; fragile: few seeds and diverged runs; "
               "exploratory: not as it was registered before the first run"),
        Column("effect", number=True, doc="how much better the claim's first side is"),
        Column(source.level, number=True, doc="of this claim alone; of an equivalence the interval "
               "that supports it"),
        Column("adjusted p", number=True, doc="corrected for all claims of its family"),
        Column("seeds", number=True), Column("what the chapter says"),
    ]  # fmt: skip
    rows = [_row(source, row) for row in claims.to_dict("records")]
    several = claims["experiment"].nunique() > 1
    if several:
        columns.insert(1, Column("experiment"))
        rows = [
            [r[0], Value(str(e)), *r[1:]] for r, e in zip(rows, claims["experiment"], strict=True)
        ]
    return Table(anchor, caption, columns, rows, filter_by=1 if several else None)
