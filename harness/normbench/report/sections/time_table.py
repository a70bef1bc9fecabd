"""All times to a threshold as numbers."""

from __future__ import annotations

import math

from normbench.report import boundary, words
from normbench.report.blocks import Column, Table, Value
from normbench.report.source import Source


@boundary.block("the table of times")
def time_table(source: Source) -> Table:
    """Per cell and threshold: the fraction reached, and restricted means in every unit."""
    table = source.analysis["times"]
    timed = bool(table["seconds"].notna().any())
    rows = []
    for row in table.to_dict("records"):
        low, high = (100 * row[k] for k in ("fraction_low", "fraction_high"))
        share = (
            Value("", sort=math.nan)
            if math.isnan(low)
            else Value(f"{low:.0f} to {high:.0f} %", sort=low)
        )
        cells = [
            words.text(row["experiment"]), words.text(source.place(row["setting"])),
            words.text(row["norm"]), words.count(row["batch_size"]),
            words.real(row["threshold"], "g"),
            Value(f"{row['reached']} of {row['runs']}", sort=row["reached"] / row["runs"]), share,
            words.real(row["restricted_mean"], ".2f"),
            words.span(row["low"], row["high"], None, form=".2f"), words.count(row["samples"]),
        ]  # fmt: skip
        if timed:
            low, high = row["seconds_low"], row["seconds_high"]
            cells += [words.real(row["seconds"]), words.span(low, high, None, form=".3g")]
        rows.append([*cells, words.count(row["diverged"])])
    columns = [
        Column("experiment"), Column("setting"), Column("norm"), Column("batch size", number=True),
        Column("threshold", number=True),
        Column("reached", number=True, doc="runs that reached the threshold within the budget"),
        Column("share", number=True, doc=f"{source.level} of the share that reaches it"),
        Column("epochs", number=True, doc="restricted mean: a run that never gets there counts "
               "with the whole budget"),
        Column(source.level, number=True, doc="of the restricted mean, by bootstrap-t"),
        Column("samples", number=True, doc="the same mean in training samples"),
    ]  # fmt: skip
    if timed:
        columns += [
            Column("seconds", number=True, doc="the same mean in isolated seconds of training"),
            Column("interval of seconds", number=True, doc="holds for steps and step time at once"),
        ]
    columns.append(Column("diverged", number=True, doc="runs that diverged"))
    return Table("convergence-times", "Time to threshold, restricted to the budget", columns, rows,
                 filter_by=0, folded=len(rows) > 30)  # fmt: skip
