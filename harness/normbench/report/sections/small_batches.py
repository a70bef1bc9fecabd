"""Small batches: error against batch size, degradation, crossover, and batch norm's loss."""

from __future__ import annotations

import pandas as pd

from normbench.figures.batch_size import error_by_batch_size
from normbench.protocol.study import Experiment
from normbench.report import boundary, words
from normbench.report.blocks import Block, Figure, Section, Text
from normbench.report.phrases import degradation_sentence, norm_name
from normbench.report.sections.crossover import crossover_sentence
from normbench.report.sections.small_batch_tables import (
    crossover_table,
    degradation_table,
    invariance_claims,
    invariance_table,
)
from normbench.report.sections.statistics import statistics_blocks
from normbench.report.source import Source


def _figure_says(source: Source, final: pd.DataFrame, series: Experiment) -> str:
    setting = str(final["setting"].iloc[0])
    own = final[final["setting"] == setting]
    small, large = int(own["batch_size"].min()), int(own["batch_size"].max())
    means = own.groupby(["norm", "batch_size"], sort=False)["error"].mean()
    said = []
    for norm in dict.fromkeys(own["norm"]):
        if (norm, small) in means.index and (norm, large) in means.index:
            ends = [words.error(means[(norm, b)], series.metric) for b in (large, small)]
            said.append(f"{norm_name(norm)} from {ends[0]} to {ends[1]}")
    if not said:
        return "No norm has runs at both the smallest and the largest batch size."
    name = words.error_name(series.metric)
    where = f"From batch size {large} to {small}{source.within(setting)}"
    return f"{where} the mean {name} goes: {'; '.join(said)}."


@boundary.block("the figure of errors by batch size")
def error_figure(source: Source, series: Experiment) -> Figure:
    """Final error of every run against the batch size."""
    final = source.rows("final", series)
    name = f"final validation {words.error_name(series.metric)}"
    label = f"{words.capital(name)} against batch size in {series.title}"
    window = "the last evaluation" if series.window == 1 else (
        f"the mean of the last {series.window} evaluations")  # fmt: skip
    lost = int(final["diverged"].sum())
    failed = (
        f" Crosses are diverged runs: they count with the {words.error_name(series.metric)} of "
        "chance, in the means too."
        if lost
        else ""
    )
    return Figure(
        f"small-batches-{series.name}-error",
        error_by_batch_size(final, name, source.look, label),
        f"{words.capital(name)} ({window}) of every run over the batch size; small dots are seeds, "
        f"markers with lines the means over them.{failed}",
        _figure_says(source, final, series),
        label,
        words.csv(final),
    )


def _sentences(source: Source, series: Experiment) -> list[str]:
    """What shrinking batches do to each norm; batch norm first."""
    rows = source.rows("degradation", series).to_dict("records")
    rows.sort(key=lambda row: not source.uses_batch_statistics(str(row["norm"])))
    found = []
    for row in rows:
        where = f"{words.capital(source.said(row['setting']))}: " if row["setting"] else ""
        said = degradation_sentence(row, series.metric)
        found.append(where + words.capital(said))
    crossing = source.rows("crossover", series).to_dict("records")
    for row in crossing:
        if source.uses_batch_statistics(str(row["norm"])):
            found.append(words.capital(crossover_sentence(source, row)))
    return found


@boundary.part("small-batches")
def _part(source: Source, series: Experiment) -> Section | None:
    final = source.rows("final", series)
    if final.empty or final["batch_size"].nunique() < 2:
        return None
    blocks: list[Block] = []
    said = _sentences(source, series)
    if said:
        blocks.append(Text(said[:8]))
    blocks.append(error_figure(source, series))
    blocks += statistics_blocks(source, series)
    return Section(f"small-batches-{series.name}", series.title, blocks)


def section(source: Source) -> Section:
    """What small batches cost each norm."""
    parts = [p for p in (_part(source, s) for s in source.study.experiments) if p is not None]
    blocks: list[Block] = []
    if not parts:
        blocks.append(
            Text(["No experiment with results varies the batch size, so nothing is shown here."])
        )
    for table in (degradation_table(source), crossover_table(source)):
        if table is not None:
            blocks.append(table)
    blocks += invariance_claims(source)
    bounds = invariance_table(source)
    if bounds is not None:
        blocks.append(bounds)
    if not parts:  # batch norm at one batch size: its statistics can still be told apart
        for series in source.study.experiments:
            blocks += statistics_blocks(source, series)
    return Section("small-batches", "Small batches", blocks, parts)
