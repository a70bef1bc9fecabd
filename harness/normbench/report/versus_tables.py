"""The tables of a comparison of two result sets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from normbench.analysis.judging import direction
from normbench.analysis.settings import Setting
from normbench.analysis.versus import Versus
from normbench.report.blocks import Column, Table, Value, Verdict
from normbench.report.phrases import bare_p, setting_text
from normbench.report.words import note

#: For each kind of endpoint its unit, the factor to it, and how its numbers are written.
SINGLE: dict[str, tuple[str, float, str]] = {
    "accuracy": ("points", 100.0, ".2f"),
    "loss": ("nat", 1.0, ".4f"),
    "time": ("epochs", 1.0, ".2f"),
}
_MARKS: dict[str, Verdict] = {
    "better": "supported", "worse": "refuted", "equal": "equivalent", "identical": "equivalent",
    "no change shown": "inconclusive", "mixed": "inconclusive", "described only": "undecided",
    "not decidable": "undecided", "not compared": "void",
}  # fmt: skip
_WHERE = [
    Column("experiment"), Column("setting", doc="the other axes that vary"), Column("norm"),
    Column("batch size", number=True),
]  # fmt: skip


def _kind(row: Mapping[Any, Any]) -> str:
    return "time" if row["endpoint"] == "time" else str(row["metric"])


def effect(row: Mapping[Any, Any], value: float, *, unit: bool = True, signed: bool = True) -> str:
    """A difference in the unit of its endpoint; empty where there is none."""
    if value != value:
        return ""
    name, factor, form = SINGLE[_kind(row)]
    text = f"{factor * value:{'+' if signed else ''}{form}}"
    if float(text) == 0.0:  # no sign on a rounded nought
        text = text.lstrip("+-")
    return f"{text} {name}" if unit else text


def endpoint(row: Mapping[Any, Any]) -> str:
    """The endpoint in words."""
    if row["endpoint"] == "time":
        return f"time to {row['metric']} {row['threshold']:g}"
    return "final error" if row["metric"] == "accuracy" else "final loss"


def verdict_cell(verdict: str) -> Value:
    """A verdict as a cell that is coloured by it."""
    return Value(verdict, mark=_MARKS[direction(verdict) or verdict])


def _number(text: str, value: float) -> Value:
    return Value(text, None if value != value else float(value))


def said(found: Versus, row: Mapping[Any, Any]) -> str:
    """The setting of a row in words."""
    return setting_text(found.settings.get(str(row["setting"]), Setting()))


def _where(found: Versus, row: Mapping[Any, Any]) -> list[Value]:
    size = int(row["batch_size"])
    return [Value(str(row["experiment"])), Value(said(found, row)),
            Value(str(row["norm"])), Value(str(size), size)]  # fmt: skip


def change_table(found: Versus) -> Table:
    """Every comparison: both means, the difference with its intervals, adjusted p, verdict."""
    rows = [_change_row(found, row) for row in found.tables["changes"].to_dict("records")]
    level = f"{100 * (1 - found.alpha):g} % interval"
    columns = [
        *_WHERE, Column("endpoint"),
        Column("A", True, "mean over the seeds that both have"),
        Column("B", True, "mean over the seeds that both have"),
        Column("B better by", True, "A minus B, mean over seeds"),
        Column("verdict"),
        Column(f"{level}, alone", True, "this comparison alone"),
        Column(f"{level}, all", True, "holds for all comparisons at once"),
        Column("adjusted p", True, "of a change, corrected over the family"),
        Column("seeds", True), Column("margin", True, "declared in a protocol"),
        Column("p of equality", True, "adjusted, that the difference lies within the margin"),
        Column("diverged in A and B", True), Column("note"),
    ]  # fmt: skip
    return _filled(Table("changes", "Differences between A and B, seed by seed", columns, rows, 0))


def _change_row(found: Versus, row: Mapping[Any, Any]) -> list[Value]:
    alone, both = (
        " to ".join(filter(None, (effect(row, row[end], unit=False) for end in ends)))
        for ends in (("low", "high"), ("simultaneous_low", "simultaneous_high"))
    )
    lost = row["diverged_a"] + row["diverged_b"]
    margin = effect(row, row["margin"], signed=False) if row["margin"] > 0 else ""
    return [
        *_where(found, row), Value(endpoint(row)),
        *(_number(effect(row, row[m], unit=False, signed=False), row[m])
          for m in ("mean_a", "mean_b")),
        _number(effect(row, row["estimate"]), row["estimate"]),
        verdict_cell(str(row["verdict"])), Value(alone), Value(both),
        _number(bare_p(row["adjusted_p"]), row["adjusted_p"]),
        Value(str(row["n"]), int(row["n"])), Value(margin),
        _number(bare_p(row["equal_p"]), row["equal_p"]),
        Value(f"{row['diverged_a']} and {row['diverged_b']}" if lost else "", int(lost)),
        note(row, 24),
    ]  # fmt: skip


def _filled(table: Table) -> Table:
    """The table without the columns that are empty throughout, the first one aside."""
    kept = [
        i for i in range(len(table.columns))
        if i == 0 or not table.rows or any(row[i].text for row in table.rows)
    ]  # fmt: skip
    return replace(
        table,
        columns=[table.columns[i] for i in kept],
        rows=[[row[i] for i in kept] for row in table.rows],
    )


def cell_table(found: Versus) -> Table:
    """The matched cells and what differs between their sides."""
    rows = []
    for row in found.tables["cells"].to_dict("records"):
        moved = [] if row["experiment"] == row["experiment_b"] else [
            f"experiment: {row['experiment']} → {row['experiment_b']}"
        ]  # fmt: skip
        differs = "; ".join([*moved, *filter(None, [row["differs"]])])
        same = "nothing: the same run hashes" if row["same_runs"] else "the code's numerics"
        rows.append([
            *_where(found, row), Value(differs or same),
            *(Value(str(row[key]), int(row[key])) for key in ("seeds_a", "seeds_b")),
            verdict_cell(str(row["verdict"])),
        ])  # fmt: skip
    columns = [
        *_WHERE, Column("what differs", doc="axes changed, added or removed from A to B"),
        Column("runs in A", True), Column("runs in B", True), Column("verdict"),
    ]  # fmt: skip
    return _filled(
        Table("matched", "Cells that both have", columns, rows, 0, folded=len(rows) > 20)
    )


def unmatched_table(found: Versus) -> Table:
    """The cells of one side alone."""
    rows = [
        [Value(str(row["side"])), *_where(found, row), Value(str(row["runs"]), int(row["runs"]))]
        for row in found.tables["unmatched"].to_dict("records")
    ]
    columns = [Column("only in"), *_WHERE, Column("runs", True)]
    return _filled(
        Table("unmatched", "Cells of one side alone", columns, rows, 0, folded=len(rows) > 20)
    )


def step_rows(found: Versus) -> Table:
    """Seconds of a step where both were timed."""
    rows = []
    for row in found.tables["steps"].to_dict("records"):
        interval = f"{row['low']:.3f} to {row['high']:.3f}" if row["low"] == row["low"] else ""
        rows.append([
            *_where(found, row),
            *(_number(f"{1000 * row[s]:.3f}", row[s]) for s in ("seconds_a", "seconds_b")),
            _number(f"{row['ratio']:.3f}", row["ratio"]), Value(interval),
            Value(f"{row['repetitions_a']} and {row['repetitions_b']}"),
            Value(row["warnings"]),
        ])  # fmt: skip
    level = f"{100 * (1 - found.alpha):g} % interval"
    columns = [*_WHERE, Column("ms in A", True), Column("ms in B", True), Column("B / A", True),
               Column(level, True), Column("repetitions", True), Column("note")]  # fmt: skip
    return _filled(Table("seconds", "Seconds of an isolated training step", columns, rows, 0))
