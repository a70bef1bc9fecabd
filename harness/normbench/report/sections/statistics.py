"""Batch norm with running, recomputed and batch statistics: noise in training or mismatch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from normbench.figures.batch_size import error_by_statistics
from normbench.protocol.study import Experiment
from normbench.report import boundary, words
from normbench.report.blocks import Block, Column, Figure, Table, Text, Value
from normbench.report.phrases import norm_name
from normbench.report.source import Source

_MEANING = {
    "whole": "whole difference",
    "training": "noise in training",
    "evaluation": "mismatch at evaluation",
}


def _says(evaluations: pd.DataFrame, final: pd.DataFrame, series: Experiment) -> str:
    setting, norm = evaluations["setting"].iloc[0], evaluations["norm"].iloc[0]
    own = evaluations[(evaluations["setting"] == setting) & (evaluations["norm"] == norm)]
    small = own["batch_size"].min()
    means = own[own["batch_size"] == small].groupby("evaluation", sort=False)["error"].mean()
    said = [f"{words.error(v, series.metric)} with {k} statistics" for k, v in means.items()]
    base = final[
        (final["setting"] == setting)
        & (final["norm"] == series.reference)
        & (final["batch_size"] == small)
    ]["error"]
    tail = (
        ""
        if base.empty or norm == series.reference
        else f"; {norm_name(series.reference)} has {words.error(base.mean(), series.metric)}"
    )
    name = words.error_name(series.metric)
    return f"At batch size {small} {norm_name(norm)}'s mean {name} is {words.listed(said)}{tail}."


def _drawn(evaluations: pd.DataFrame, final: pd.DataFrame, series: Experiment) -> pd.DataFrame:
    """What the figure draws: every kind of statistics, and the reference beside them."""
    base = final[final["norm"] == series.reference].assign(evaluation="reference")
    shared = [c for c in evaluations.columns if c in base.columns]
    return pd.concat([evaluations, base[shared]], ignore_index=True)


def _sentence(source: Source, rows: Sequence[Mapping[Any, Any]], metric: str) -> str | None:
    """The fitted rise and its two parts, in words."""
    by_part = {row["part"]: row for row in rows}
    if any(row["refusal"] for row in rows) or set(by_part) != set(_MEANING):
        return None
    whole, training, evaluation = (by_part[k] for k in ("whole", "training", "evaluation"))

    def said(row: Mapping[Any, Any]) -> str:
        return f"{words.signed(row['estimate'], metric)} ({words.interval(row, metric)})"

    norm, reference = norm_name(whole["norm"]), norm_name(whole["reference"])
    where = source.within(whole["setting"])
    return words.capital(
        f"as the batch shrinks from {whole['largest']} to {whole['smallest']}{where}, {norm}'s "
        f"{words.error_name(metric)} rises by {said(whole)} more than that of {reference}. Of "
        f"this, {said(evaluation)} goes away when the statistics are recomputed after training, "
        f"which is mismatch at evaluation, and {said(training)} stays, which is noise in training "
        f"({whole['n']} seeds)."
    )


def _table(source: Source, series: Experiment, split: pd.DataFrame) -> Table:
    rows = []
    for row in split.to_dict("records"):
        one = row["smallest"] == row["largest"]
        rows.append(
            [
                words.text(row["norm"]), words.text(source.place(row["setting"])),
                Value(f"{row['smallest']}" if one else f"{row['largest']} → {row['smallest']}",
                      sort=row["smallest"] if one else -1.0),
                words.text(_MEANING[row["part"]]),
                words.difference(row["estimate"], series.metric),
                words.span(row["low"], row["high"], series.metric), words.probability(row["p"]),
                words.count(row["n"]), words.note(row),
            ]
        )  # fmt: skip
    columns = [
        Column("norm"), Column("setting"),
        Column("batch size", number=True, doc="one size, or the fitted rise from the largest to "
               "the smallest"),
        Column("part", doc="the whole difference to the reference is the sum of the other two: "
               "noise in training stays with recomputed statistics, mismatch at evaluation goes"),
        Column(f"difference ({words.unit(series.metric)})", number=True,
               doc="positive: a higher error"),
        Column(source.level, number=True, doc="of this comparison alone"),
        Column("p", number=True, doc="sign-flip test of this comparison alone"),
        Column("seeds", number=True), Column("note"),
    ]  # fmt: skip
    reference = norm_name(series.reference)
    return Table(
        f"small-batches-{series.name}-split",
        f"What the difference to {reference} is made of: {series.title}", columns, rows,
        folded=True,
    )  # fmt: skip


@boundary.block("the figure of kinds of statistics")
def _figure(
    source: Source, series: Experiment, evaluations: pd.DataFrame, final: pd.DataFrame
) -> Figure:
    name = f"final validation {words.error_name(series.metric)}"
    label = f"{words.capital(name)} by kind of statistics in {series.title}"
    return Figure(
        f"small-batches-{series.name}-statistics",
        error_by_statistics(evaluations, final, series.reference, name, source.look, label),
        "The same trained networks, evaluated with the running averages of training, with "
        "statistics recomputed on training samples afterwards, and with those of each "
        "evaluation batch. Where recomputing closes the gap, the running averages did not "
        "fit the network (mismatch at evaluation); what stays above the reference is what "
        "noisy statistics did to training.",
        _says(evaluations, final, series),
        label,
        words.csv(_drawn(evaluations, final, series)),
    )


def statistics_blocks(source: Source, series: Experiment) -> list[Block]:
    """Figure, sentences and table on the kinds of statistics, where a norm has several."""
    evaluations = source.rows("evaluations", series)
    if evaluations.empty:
        return []
    final, split = source.rows("final", series), source.rows("evaluation_split", series)
    blocks: list[Block] = []
    if evaluations["batch_size"].nunique() > 1:
        blocks.append(_figure(source, series, evaluations, final))
    rises = split[split["smallest"] < split["largest"]]
    said = [
        _sentence(source, part.to_dict("records"), series.metric)
        for _, part in rises.groupby(["setting", "norm"], sort=False)
    ]
    found = [s for s in said if s]
    if found:
        blocks.append(Text(found))
    if not split.empty:
        blocks.append(_table(source, series, split))
    return blocks
