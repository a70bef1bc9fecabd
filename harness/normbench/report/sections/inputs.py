"""Input normalization on against off, and whether norm layers make it needless."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from normbench.analysis.settings import INPUT_NORM
from normbench.figures.curves import thinned
from normbench.figures.inputs import input_norm_curves
from normbench.protocol.study import Experiment
from normbench.report import boundary, words
from normbench.report.blocks import Block, Column, Figure, Section, Table, Text
from normbench.report.phrases import norm_name
from normbench.report.sections import scale
from normbench.report.source import Source


def _decided(row: Mapping[Any, Any], alpha: float) -> bool:
    return bool(row["p"] <= alpha and (row["low"] > 0 or row["high"] < 0))


def _effect(row: Mapping[Any, Any], series: Experiment) -> str:
    return f"{words.signed(row['estimate'], series.metric)}, {words.interval(row, series.metric)}"


def _epochs(count: float) -> str:
    return "one epoch" if count == 1 else f"{count:g} epochs"


def _sentences(source: Source, series: Experiment, table: pd.DataFrame) -> list[str]:
    """Per level, what it gains with which norm, and whether a norm makes it less needed."""
    found = []
    final = table[table["endpoint"] == "final"]
    name = words.error_name(series.metric)
    for (setting, batch, on), part in final.groupby(["setting", "batch_size", "input_norm"],
                                                    sort=False):  # fmt: skip
        said = []
        for row in part[part["against"] == ""].to_dict("records"):
            if row["refusal"]:
                said.append(f"with {norm_name(row['norm'])} no conclusion ({row['refusal']})")
                continue
            effect = _effect(row, series)
            verb = "undecided" if not _decided(row, source.alpha) else (
                f"lower {name}" if row["estimate"] > 0 else f"higher {name}")  # fmt: skip
            said.append(f"with {norm_name(row['norm'])} {verb} ({effect})")
        where = f" at batch size {batch}{source.within(setting)}"
        found.append(
            f"{words.capital(str(on))} against {part['off'].iloc[0]}{where}: {'; '.join(said)}."
        )
        less = [
            f"{norm_name(r['norm'])} ({_effect(r, series)})"
            for r in part[part["against"] != ""].to_dict("records")
            if not r["refusal"] and _decided(r, source.alpha) and r["estimate"] < 0
        ]
        if less:
            base = norm_name(part.loc[part["against"] != "", "against"].iloc[0])
            found.append(f"It gains less with {words.listed(less)} than with {base}.")
    return found


@boundary.block("the figure of input normalizations")
def _curves(source: Source, series: Experiment) -> Figure | None:
    curves = source.rows("curves", series)
    settings = curves["setting"].map(source.setting)
    curves = curves.assign(
        input_norm=settings.map(lambda setting: setting.value(INPUT_NORM)),
        setting=settings.map(lambda setting: setting.without(INPUT_NORM).text),
    )
    setting, batch = curves["setting"].iloc[0], int(curves["batch_size"].min())
    own = curves[(curves["setting"] == setting) & (curves["batch_size"] == batch)]
    levels = list(dict.fromkeys(own["input_norm"]))
    drawn = pd.concat([thinned(own[own["input_norm"] == name]) for name in levels])
    label = f"Learning curves by input normalization in {series.title}"
    first = drawn[drawn["epoch"] > 0]
    if first.empty:
        return None
    start = first[first["epoch"] == first["epoch"].min()]
    ranked = start.dropna(subset="median").sort_values(
        "median", ascending=series.metric != "accuracy", kind="stable"
    )
    said = "Every run had diverged at the first evaluation."
    if not ranked.empty:
        best, worst = ranked.iloc[0], ranked.iloc[-1]
        said = (
            f"After {_epochs(float(start['epoch'].iloc[0]))} the median validation "
            f"{series.metric} is best with {norm_name(best['norm'])} on {best['input_norm']} "
            f"inputs ({best['median']:.3f}) and worst with {norm_name(worst['norm'])} on "
            f"{worst['input_norm']} inputs ({worst['median']:.3f})."
        )
    where = f" at batch size {batch}{source.within(setting)}"
    return Figure(
        f"inputs-{series.name}-curves",
        input_norm_curves(drawn, levels, series.thresholds, source.look, label),
        f"Median validation {series.metric} over seeds{where}, a panel per norm and a dash per "
        "input normalization. Where the lines of a panel lie on each other, input normalization "
        "makes no difference to that norm.",
        said,
        label,
        words.csv(drawn),
    )


@boundary.block("the table of input normalizations")
def _table(source: Source, series: Experiment, table: pd.DataFrame) -> Table:
    rows = []
    for row in table.to_dict("records"):
        final = row["endpoint"] == "final"
        metric = series.metric if final else None
        effect = words.difference(row["estimate"], series.metric) if final else words.real(
            row["estimate"], "+.2f")  # fmt: skip
        what = (
            f"final {words.error_name(series.metric)}, {words.unit(series.metric)}"
            if final
            else f"epochs saved to {row['threshold']:g}"
        )
        kind = f"minus that with {row['against']}" if row["against"] else "gain"
        rows.append(
            [
                words.text(row["norm"]), words.text(source.place(row["setting"])),
                words.count(row["batch_size"]),
                words.text(f"{row['input_norm']} against {row['off']}"), words.text(what),
                words.text(kind), effect,
                words.span(row["low"], row["high"], metric), words.probability(row["p"]),
                words.count(row["n"]), words.note(row),
            ]
        )  # fmt: skip
    columns = [
        Column("norm"), Column("setting"), Column("batch size", number=True),
        Column("input normalization"), Column("endpoint"),
        Column("what", doc="the gain from input normalization; or that gain minus the gain with "
               "another norm (interaction): negative where the norm makes it less needed"),
        Column("effect", number=True, doc="positive: input normalization helps"),
        Column(source.level, number=True, doc="of this comparison alone"),
        Column("p", number=True, doc="sign-flip test of this comparison alone"),
        Column("seeds", number=True), Column("note"),
    ]  # fmt: skip
    caption = f"Input normalization on against off: {series.title}"
    return Table(f"inputs-{series.name}-effects", caption, columns, rows, filter_by=0)


def section(source: Source) -> Section | None:
    """Input normalization and the scale of features, where experiments are about it."""
    parts = []
    for series in source.study.experiments:
        if "input_norm" not in series.varies:
            continue
        table = source.rows("input_norm", series)
        anchor = f"inputs-{series.name}"
        if table.empty:
            said = "Only one input normalization has results here: nothing to compare yet."
            parts.append(Section(anchor, series.title, [Text([said])]))
            continue
        figure = _curves(source, series)
        blocks: list[Block] = [Text(_sentences(source, series, table))]
        blocks += [figure] if figure is not None else []
        blocks.append(_table(source, series, table))
        parts.append(Section(anchor, series.title, blocks))
    scaled = scale.part(source)
    parts += [scaled] if scaled is not None else []
    return Section("inputs", "Input normalization", [], parts) if parts else None
