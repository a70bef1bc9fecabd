"""The claims with their verdicts as one table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from normbench.protocol.claims import probe_parts
from normbench.protocol.resolved import ResolvedClaim
from normbench.report import boundary, words
from normbench.report.blocks import Column, Items, Table, Value, Verdict
from normbench.report.claim_sentences import claim_amount, claim_sentence, claim_unit
from normbench.report.source import Source

_VERDICTS: dict[str, Verdict] = {
    "supported": "supported", "refuted": "refuted", "inconclusive": "inconclusive", "void": "void",
}  # fmt: skip
#: As many claims are put into sentences below their table.
MOST_SENTENCES = 12
#: Claims about these rest on the part about the scale of features.
LINEAR_QUANTITIES = ("excess-loss", "linear-weights", "update-share")


def _wanted(claim: ResolvedClaim) -> str:
    """The part of the page that is about what a claim is about."""
    probed, end = probe_parts(claim.endpoint.metric), claim.endpoint
    if end.kind == "diverged":
        return "completeness"
    if probed is not None:
        return "scale" if probed[0] in LINEAR_QUANTITIES else "mechanisms"
    if end.kind == "time":
        return "convergence"
    special = {claim.a_evaluation, claim.b_evaluation} != {"running"}
    if claim.kind == "interaction" or claim.itself or special:
        return "small-batches"
    inputs = [(axes or {}).get("input_norm") for axes in (claim.a_axes, claim.b_axes)]
    return "inputs" if inputs[0] != inputs[1] else "pairwise"


def evidence(source: Source, row: Mapping[Any, Any]) -> str:
    """The anchor of what a claim rests on; of the learning curves where it has no part."""
    claim = source.study.claim(str(row["claim"]))
    wanted, series = _wanted(claim), source.study.experiment(claim.experiment)
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


def _span(row: Mapping[Any, Any], *keys: str) -> str:
    return " to ".join(filter(None, (words.minus(claim_amount(row, key)) for key in keys)))


def _row(source: Source, row: Mapping[Any, Any]) -> list[Value]:
    unit, effect = claim_unit(row), words.minus(claim_amount(row, "estimate"))
    wide = _span(row, "simultaneous_low", "simultaneous_high")
    told = " ".join(filter(None, [str(row["text"]), sentence(source, row)]))
    return [
        Value(str(row["hypothesis"]), link=evidence(source, row), hint=told),
        _verdict(row),
        Value(effect + (f" {unit}" if effect and unit else ""), sort=float(row["estimate"])),
        Value(
            _span(row, "low", "high"),
            sort=float(row["low"]),
            hint=f"all claims of the family at once: {wide}" if wide else "",
        ),
        words.probability(row["adjusted_p"]),
        Value(str(row["n"]), sort=row["n"], hint=words.minuses(str(row["warnings"]))),
        Value(str(row["chapter"])),
    ]


def sentence(source: Source, row: Mapping[Any, Any]) -> str:
    """What was found, in a sentence."""
    return words.capital(claim_sentence(row, source.study))


def in_words(source: Source, claims: pd.DataFrame) -> Items:
    """What was found on each claim, in sentences; the first of them where there are many."""
    rows = claims.head(MOST_SENTENCES).to_dict("records")
    items: list[str | tuple[str, str]] = [(str(r["hypothesis"]), sentence(source, r)) for r in rows]
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
