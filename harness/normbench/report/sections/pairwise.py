"""Every norm against every other, and how much depends on the learning rate."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from normbench.figures.rates import rate_sensitivity
from normbench.protocol.study import Experiment
from normbench.report import boundary, words
from normbench.report.blocks import Block, Column, Figure, Section, Table, Text, Value, Verdict
from normbench.report.phrases import norm_name, p_value
from normbench.report.source import Source

_MARKS: dict[str, Verdict] = {"better": "supported", "worse": "refuted", "undecided": ""}
_OTHER = {"better": "worse", "worse": "better", "undecided": "undecided"}


def _cell(row: Mapping[Any, Any], metric: str, flip: bool) -> Value:
    """One entry of the matrix: effect, interval and adjusted p."""
    sign = -1.0 if flip else 1.0
    estimate = row["estimate"]
    if math.isnan(estimate):
        return Value("–", sort=math.nan, hint=str(row["refusal"]))
    finding = _OTHER[row["finding"]] if flip else row["finding"]
    effect = words.difference(sign * estimate, metric).text
    claimed = f"decided by the claim {row['claim']}, not by this family" if row["claim"] else ""
    hint = words.minuses("; ".join(filter(None, [claimed, row["refusal"] or row["warnings"]])))
    if math.isnan(row["low"]):
        return Value(f"{effect} (no interval)", sort=sign * estimate, hint=hint)
    ends = ("low", "high") if not flip else ("high", "low")
    span = words.span(sign * row[ends[0]], sign * row[ends[1]], metric).text
    low, high = (sign * row[f"simultaneous_{end}"] for end in ends)
    if not math.isnan(low):
        joint = f"all pairs at once: {words.span(low, high, metric).text}"
        hint = "; ".join(filter(None, [joint, hint]))
    shown = ", ".join(filter(None, [f"{effect} ({span})", p_value(row["adjusted_p"])]))
    spoken = finding if _MARKS[finding] else ""
    return Value(shown, sort=sign * estimate, mark=_MARKS[finding], hint=hint, spoken=spoken)


def _matrix(source: Source, series: Experiment, setting: str, pairs: pd.DataFrame) -> Table:
    norms = [n for n in source.look.colour if n in set(pairs["norm"]) | set(pairs["other"])]
    rows = []
    for size, part in pairs.groupby("batch_size", sort=True):
        known = {(r["norm"], r["other"]): r for r in part.to_dict("records")}
        for i, norm in enumerate(norms[:-1]):
            cells = [Value("", sort=math.nan)] * i
            for other in norms[i + 1 :]:
                if (norm, other) in known:
                    cells.append(_cell(known[(norm, other)], series.metric, False))
                elif (other, norm) in known:
                    cells.append(_cell(known[(other, norm)], series.metric, True))
                else:
                    cells.append(Value("", sort=math.nan))
            if any(cell.text for cell in cells):
                rows.append([Value(norm), words.count(float(size)), *cells])  # type: ignore[arg-type]
    columns = [Column("norm"), Column("batch size", number=True)]
    columns += [Column(f"against {norm}") for norm in norms[1:]]
    index = list(dict.fromkeys(source.rows("pairs", series)["setting"])).index(setting)
    return Table(
        f"pairwise-{series.name}-{index + 1}",
        f"Final {words.error_name(series.metric)}, differences in {words.unit(series.metric)}: "
        f"{series.title}{source.within(setting)}. Positive: the norm of the row is better, ✓ or ✗: "
        "decidedly better or worse. In brackets "
        f"the {source.level} of this pair alone; p is adjusted over the {len(pairs)} pairs of the "
        f"table{_claimed(pairs)}",
        columns, rows, folded=index > 0,
    )  # fmt: skip


def _claimed(pairs: pd.DataFrame) -> str:
    """Which pairs are not decided by the family."""
    names = list(dict.fromkeys(pairs.loc[pairs["claim"] != "", "claim"]))
    if not names:
        return ""
    what = "the claim" if len(names) == 1 else "the claims"
    return f"; of a pair that {what} {words.listed(names)} was declared about, that has the word"


def _sentence(pairs: pd.DataFrame) -> str:
    decided = int((pairs["finding"] != "undecided").sum())
    refused = pairs[pairs["refusal"] != ""]
    said = f"{decided} of {words.plural(len(pairs), 'pair')} decided at the family's level"
    if decided:
        better = pairs["norm"].where(pairs["finding"] == "better", pairs["other"])
        counts = better[pairs["finding"] != "undecided"].value_counts(sort=False)
        wins = sorted(counts.items(), key=lambda item: -item[1])
        said += ": better is " + words.listed(f"{norm_name(str(n))} in {k}" for n, k in wins)
    tail = (
        f" {len(refused)} could not be tested: {refused['refusal'].iloc[0]}."
        if len(refused)
        else ""
    )
    return f"{said}.{tail}"


@boundary.part("pairwise")
def _part(source: Source, series: Experiment) -> Section | None:
    pairs = source.rows("pairs", series)
    blocks: list[Block] = []
    for setting in dict.fromkeys(pairs["setting"]):
        own = pairs[pairs["setting"] == setting]
        where = f"{words.capital(source.said(setting))}: " if setting else ""
        blocks += [Text([where + _sentence(own)]), _matrix(source, series, str(setting), own)]
    tuning = source.rows("tuning", series) if series.tune is not None else pairs.iloc[:0]
    if not tuning.empty:
        blocks.append(_rates_figure(source, series, tuning))
    return Section(f"pairwise-{series.name}", series.title, blocks) if blocks else None


@boundary.block("the figure of learning rates")
def _rates_figure(source: Source, series: Experiment, tuning: pd.DataFrame) -> Figure:
    chosen = source.rows("learning_rates", series)
    name = f"validation {words.error_name(series.metric)}"
    label = f"Sensitivity to the learning rate in {series.title}"
    said = "Nothing is chosen yet: some tuning runs are missing."
    if not chosen.empty:
        wide = chosen.groupby("norm", sort=False)["stable_octaves"].mean()
        parts = [f"{norm_name(str(norm))} {width:.1f}" for norm, width in wide.items()]
        said = f"Mean width of the stable range in factors of two: {words.listed(parts)}."
        edge = int((chosen["edge_of_grid"] != "").sum())
        if edge:
            said += f" {words.plural(edge, 'choice')} at an edge of the grid."
    return Figure(
        f"pairwise-{series.name}-rates",
        rate_sensitivity(tuning, name, source.look, label),
        f"Mean final {name} over the tuning seeds at each rate of the grid. The large marker is "
        "the rate that is chosen, the thick part of a line its stable range: neighbouring rates "
        "that score as well within the declared tolerance and never diverge.",
        said,
        label,
        words.csv(tuning),
    )


@boundary.block("the table of learning rates")
def _rates_table(source: Source) -> Table | None:
    table = source.analysis["learning_rates"]
    if table.empty:
        return None
    rows = [
        [
            words.text(r["experiment"]), words.text(r["norm"]), words.count(r["batch_size"]),
            words.real(r["learning_rate"]),
            Value(f"{r['stable_low']:.3g} to {r['stable_high']:.3g}", sort=r["stable_low"]),
            words.real(r["stable_octaves"], ".1f"),
            words.text(f"{r['edge_of_grid']} rate of the grid" if r["edge_of_grid"] else ""),
        ]
        for r in table.to_dict("records")
    ]  # fmt: skip
    columns = [
        Column("experiment"), Column("norm"), Column("batch size", number=True),
        Column("learning rate", number=True, doc="chosen on tuning seeds"),
        Column("stable range", number=True, doc="rates that score as well within the tolerance"),
        Column("octaves", number=True, doc="width of the stable range in factors of two"),
        Column("warning"),
    ]  # fmt: skip
    return Table("pairwise-rates", "Learning rates, chosen on seeds of their own", columns, rows,
                 filter_by=0)  # fmt: skip


def section(source: Source) -> Section:
    """Differences between all norms, and the learning rates they rest on."""
    parts = [p for p in (_part(source, s) for s in source.study.experiments) if p is not None]
    blocks: list[Block] = []
    if source.analysis["pairs"].empty:
        blocks.append(
            Text(["No two norms have results at the same batch size: nothing to compare."])
        )
    rates = _rates_table(source)
    if rates is not None:
        blocks.append(rates)
    elif all(series.tune is None for series in source.study.experiments):
        blocks.append(
            Text(
                [
                    "No experiment tunes its learning rate, so sensitivity to it is not measured; "
                    "all differences are conditional on the rates that the protocol sets."
                ]
            )
        )
    return Section("pairwise", "Pairwise differences and learning rates", blocks, parts)
