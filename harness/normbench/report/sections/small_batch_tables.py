"""Tables on small batches: degradation, crossover, and how little a norm changes."""

from __future__ import annotations

import math

from normbench.report import boundary, words
from normbench.report.blocks import Block, Column, Table, Text, Value
from normbench.report.phrases import amount
from normbench.report.sections.claims_table import claims_table
from normbench.report.sections.crossover import crossover_span, size_text
from normbench.report.source import Source

_EXPERIMENT = [Column("experiment"), Column("setting"), Column("norm")]


@boundary.block("the table of small batches")
def degradation_table(source: Source) -> Table | None:
    """How much more each norm loses than the reference as the batch shrinks."""
    table = source.analysis["degradation"]
    if table.empty:
        return None
    rows = []
    for row in table.to_dict("records"):
        metric = source.study.experiment(row["experiment"]).metric
        ends = ("difference_in_differences", "difference_in_differences_low",
                "difference_in_differences_high")  # fmt: skip
        plain, low, high = (row[k] for k in ends)
        rows.append(
            [
                words.text(row["experiment"]), words.text(source.place(row["setting"])),
                words.text(row["norm"]), words.text(row["reference"]),
                Value(f"{row['largest']} → {row['smallest']}", sort=row["smallest"]),
                words.difference(row["estimate"], metric),
                words.span(row["low"], row["high"], metric),
                words.probability(row["adjusted_p"]),
                words.count(row["n"]), words.difference(plain, metric),
                words.span(low, high, metric), words.note(row),
            ]
        )  # fmt: skip
    columns = [
        *_EXPERIMENT, Column("reference"), Column("batch size", number=True),
        Column("extra error", number=True, doc="per seed, the norm's error minus the reference's "
               "is fitted against one over the batch size: the fitted rise from the largest to the "
               "smallest batch, in percentage points (or nat); positive: the norm loses more"),
        Column(source.level, number=True, doc="of this comparison alone"),
        Column("adjusted p", number=True, doc="corrected for all norms of the experiment and "
               "setting; decided at a quarter of the error rate: see Methods"),
        Column("seeds", number=True),
        Column("ends only", number=True, doc="the plain difference of differences between the "
               "largest and the smallest batch"),
        Column("interval of ends", number=True), Column("note"),
    ]  # fmt: skip
    return Table("small-batches-degradation", "Degradation against the reference norm", columns,
                 rows, filter_by=0)  # fmt: skip


def _size(value: float) -> Value:
    if math.isnan(value):
        return Value("", sort=math.nan)
    return Value(size_text(value), sort=float(value))


@boundary.block("the table of crossovers")
def crossover_table(source: Source) -> Table | None:
    """Where each norm is worse than the reference, and from which batch size on it is not."""
    table = source.analysis["crossover"]
    if table.empty:
        return None
    rows = []
    for row in table.to_dict("records"):
        span, metric = crossover_span(row), source.study.experiment(row["experiment"]).metric
        shown = size_text(float(row["estimate"])) if span else ""
        margin = Value("", sort=math.nan) if math.isnan(row["margin"]) else Value(
            amount(row["margin"], metric), sort=float(row["margin"]))  # fmt: skip
        rows.append(
            [
                words.text(row["experiment"]), words.text(source.place(row["setting"])),
                words.text(row["norm"]), words.text(row["reference"]),
                _size(row["worse_up_to"]), _size(row["within_from"]),
                margin, Value(shown, sort=float(row["estimate"]) if span else math.nan),
                Value(span, sort=float(row["low"]) if span else math.nan),
                words.count(row["n"]), words.note(row),
            ]
        )  # fmt: skip
    columns = [
        *_EXPERIMENT, Column("reference"),
        Column("worse up to", number=True, doc="from the smallest batch size upwards the norm is "
               "decidedly worse than the reference; read off the pairs"),
        Column("within the margin from", number=True, doc="from this batch size on the norm is "
               "worse by less than the declared margin: a fixed sequence of one-sided tests from "
               "the largest size downwards, where the degradation is decided"),
        Column("margin", number=True, doc="the least that a claim of equivalence of the final "
               "error declares"),
        Column("crossing", number=True, doc="where the mean difference, interpolated between the "
               "sizes tested, is no longer positive; only where its interval is closed"),
        Column(source.level, number=True, doc="of this comparison alone"),
        Column("seeds", number=True), Column("note"),
    ]  # fmt: skip
    return Table("small-batches-crossover", "Crossover batch size against the reference norm",
                 columns, rows, filter_by=0)  # fmt: skip


def invariance_claims(source: Source) -> list[Block]:
    """The verdicts on invariance to the batch size, or how to ask for one."""
    claims = source.analysis["claims"]
    own = claims[(claims["kind"] == "equivalence") & (claims["b"] == "itself")]
    if own.empty:
        if source.analysis["invariance"].empty:
            return []
        return [
            Text(
                [
                    "The protocol declares no claim of invariance to the batch size, so there is "
                    'no verdict on it; a claim of kind "equivalence" with a reference batch size '
                    "and a margin asks for one. What these data would allow at most is below."
                ]
            )
        ]
    return [claims_table(source, own, "small-batches-invariance", "Invariance to the batch size")]


@boundary.block("the table of invariance")
def invariance_table(source: Source) -> Table | None:
    """The largest change of each norm with the batch size, and a bound on it."""
    table = source.analysis["invariance"]
    if table.empty:
        return None
    rows = []
    for row in table.to_dict("records"):
        metric = source.study.experiment(row["experiment"]).metric
        bound = row["bound"]
        shown = Value("", sort=math.nan) if math.isnan(bound) else Value(
            f"±{words.difference(bound, metric).text.removeprefix('+')}"
            if math.isfinite(bound) else "none", sort=bound)  # fmt: skip
        rows.append(
            [
                words.text(row["experiment"]), words.text(source.place(row["setting"])),
                words.text(row["norm"]), words.count(row["against"]),
                words.text(row["batch_sizes"].replace(",", ", ")),
                words.difference(row["estimate"], metric), shown, words.count(row["n"]),
                words.note(row),
            ]
        )  # fmt: skip
    columns = [
        *_EXPERIMENT, Column("against batch size", number=True), Column("batch sizes"),
        Column("largest change", number=True, doc="of the final error from its value at the "
               "largest batch size, largest in size; positive: worse"),
        Column("stays within", number=True, doc=f"bound at {100 * (1 - source.alpha):g} %: no "
               "batch size differs by more. A claim with a larger margin would be supported; a "
               "margin chosen after seeing this is none"),
        Column("seeds", number=True), Column("note"),
    ]  # fmt: skip
    return Table("small-batches-bounds", "How much each norm changes with the batch size", columns,
                 rows, filter_by=0)  # fmt: skip
