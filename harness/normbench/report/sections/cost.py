"""What a training step costs with each norm."""

from __future__ import annotations

import pandas as pd

from normbench.figures.batch_size import costs_by_batch_size
from normbench.protocol.study import Experiment
from normbench.report import boundary, words
from normbench.report.blocks import Block, CodeBlock, Column, Figure, Section, Table, Text
from normbench.report.phrases import norm_name
from normbench.report.source import Source


def _says(costs: pd.DataFrame, series: Experiment) -> str:
    own = costs[costs["setting"] == costs["setting"].iloc[0]]
    parts = []
    for size in dict.fromkeys([int(own["batch_size"].min()), int(own["batch_size"].max())]):
        said = []
        for _, row in own[own["batch_size"] == size].iterrows():
            if row["norm"] == series.reference or pd.isna(row["ratio"]):
                continue
            span = "" if pd.isna(row["ratio_low"]) else (
                f" ({row['ratio_low']:.2f} to {row['ratio_high']:.2f})")  # fmt: skip
            said.append(f"{norm_name(row['norm'])} {row['ratio']:.2f}{span}")
        if said:
            parts.append(f"at batch size {size} {words.listed(said)}")
    if not parts:
        return f"No other norm was timed beside {norm_name(series.reference)}."
    reference = norm_name(series.reference)
    return f"A step takes, as a multiple of one with {reference}: {'; '.join(parts)}."


@boundary.block("the figure of costs")
def _figure(source: Source, series: Experiment) -> Figure | None:
    costs = source.rows("costs", series)
    if costs.empty:
        return None
    drawn = costs[costs["setting"] == costs["setting"].iloc[0]]
    label = f"Step time and memory by batch size in {series.title}"
    setting = str(drawn["setting"].iloc[0])
    where = f" Of the settings, {source.said(setting)} is drawn." if setting else ""
    span = f", with its {source.level} over repetitions"
    if drawn["step_low"].isna().all():
        span = " (too few repetitions for an interval)"
    return Figure(
        f"cost-{series.name}",
        costs_by_batch_size(drawn, source.look, label),
        f"Left the median time of a training step by itself{span}; right the memory that a step "
        f"needs besides the data.{where}",
        _says(costs, series),
        label,
        words.csv(drawn),
    )


@boundary.block("the table of costs")
def _table(source: Source) -> Table:
    rows = []
    for row in source.analysis["costs"].to_dict("records"):
        parts = [words.real(1e3 * row[f"{p}_seconds"], ".3g")
                 for p in ("forward", "backward", "update")]  # fmt: skip
        rows.append(
            [
                words.text(row["experiment"]), words.text(source.place(row["setting"])),
                words.text(row["norm"]), words.count(row["batch_size"]),
                words.real(1e3 * row["step_seconds"], ".3g"),
                words.span(1e3 * row["step_low"], 1e3 * row["step_high"], None, form=".3g"),
                *parts, words.real(row["ratio"], ".2f"),
                words.span(row["ratio_low"], row["ratio_high"], None, form=".2f"),
                words.real(row["memory"], ".3g", hint=f"{row['memory_kind']}"),
                words.count(row["repetitions"]),
            ]
        )  # fmt: skip
    columns = [
        Column("experiment"), Column("setting"), Column("norm"), Column("batch size", number=True),
        Column("step (ms)", number=True, doc="median over repetitions of a training step alone"),
        Column(source.level, number=True, doc="of the median, between order statistics"),
        Column("forward", number=True, doc="its part for batch, model and loss, in ms"),
        Column("backward", number=True, doc="its part for the gradients, in ms"),
        Column("update", number=True, doc="its part for clipping and optimizer, in ms"),
        Column("ratio", number=True, doc="to the reference norm, within repetitions"),
        Column("interval of ratio", number=True), Column("memory (MiB)", number=True),
        Column("repetitions", number=True),
    ]  # fmt: skip
    return Table("cost-steps", "Cost of a training step", columns, rows, filter_by=0,
                 folded=len(rows) > 30)  # fmt: skip


def section(source: Source) -> Section | None:
    """Step time and memory, or how to get them; nothing of runs that were not trained here."""
    costs = source.analysis["costs"]
    if source.results.imported:
        return None
    if costs.empty:
        folder = source.results.folder.name
        return Section(
            "cost", "Cost",
            [
                Text(["Training steps of these results were never timed. This does it:"]),
                CodeBlock(f"normbench time results/{folder}\nnormbench report results/{folder}"),
            ],
        )  # fmt: skip
    first = costs.iloc[0]
    timed, cells = len(costs), source.analysis["final"].groupby(
        ["experiment", "setting", "norm", "batch_size"]).ngroups  # fmt: skip
    rest = f" {cells - timed} of {cells} cells were not timed." if timed < cells else ""
    blocks: list[Block] = [
        Text(
            [
                f"Timed by themselves, one after the other, on {first['device']} with "
                f"{words.plural(int(first['threads']), 'thread')}; norms take turns in random "
                f"order within each repetition, so that a slow moment meets them all.{rest}"
            ]
        )
    ]
    figures = [_figure(source, series) for series in source.study.experiments]
    blocks += [figure for figure in figures if figure is not None]
    return Section("cost", "Cost", [*blocks, _table(source)])
