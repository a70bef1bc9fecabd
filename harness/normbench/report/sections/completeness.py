"""What became of every planned run."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from normbench.datasets.content import skipped_line
from normbench.datasets.names import printable
from normbench.report import words
from normbench.report.blocks import Block, Column, Items, Section, Table, Text, Value
from normbench.report.source import Source
from normbench.results.schema import STATUSES

_DOCS = {
    "planned": "runs that the protocol asks for",
    "finished": "trained to the end",
    "diverged": "ended with a loss or parameters that are no numbers: a result",
    "undefined": "the configuration has no meaning: a result",
    "failed": "crashed or ran out of memory: no result, is computed again",
    "missing": "not computed yet",
}
_NUMBERS = ["planned", *STATUSES]


def totals(source: Source) -> dict[str, int]:
    """The runs of the whole study by status, and ``planned``."""
    table = source.analysis["completeness"]
    return {name: int(table[name].sum()) for name in _NUMBERS}


def sentence(source: Source) -> str:
    """How complete the results are, in one sentence."""
    found = totals(source)
    rest = [f"{found[s]:,} {s}" for s in STATUSES[1:] if found[s]]
    done = found["planned"] == found["finished"]
    all_text = "all of them finished" if done else f"{found['finished']:,} finished"
    return f"{words.plural(found['planned'], 'run')} planned: {words.listed([all_text, *rest])}."


def _open(source: Source) -> bool:
    """Whether any run is still to be computed."""
    found = totals(source)
    return bool(found["failed"] or found["missing"])


def _columns(keys: list[str]) -> list[Column]:
    columns = [Column(key, number=key == "batch size") for key in keys]
    return columns + [Column(n, number=True, doc=_DOCS[n]) for n in _NUMBERS]


def _rows(source: Source, table: pd.DataFrame, keys: list[str]) -> list[list[Value]]:
    rows = []
    for row in table.to_dict("records"):
        cells = [
            words.count(row[k]) if k == "batch_size"
            else words.text(source.place(row[k])) if k == "setting" else words.text(row[k])
            for k in keys
        ]  # fmt: skip
        rows.append([*cells, *(words.count(row[n]) for n in _NUMBERS)])
    return rows


def why_none(source: Source) -> Iterator[str]:
    """Why cells are undefined or have failed, each reason once."""
    for status in ("undefined", "failed"):
        runs = source.results.runs[source.results.runs["status"] == status]
        keys = ["experiment", "norm", "batch_size", "error"]
        for row in runs.drop_duplicates(keys)[keys].to_dict("records"):
            where = f"{row['experiment']}, {row['norm']}, batch size {row['batch_size']}"
            yield f"{where}: {status}: {row['error'] or 'no reason was stored'}"


def _skipped(source: Source) -> list[str]:
    """Which files the data sets leave out, and how many for each reason."""
    found = []
    for name, record in source.results.contents.items():
        line = skipped_line(name, record.content)
        if line:
            counts = [f"{n:,} × {why}" for why, n in record.content.reasons.items()]
            found += [line + ".", f"By reason: {'; '.join(map(printable, counts))}."]
    return found


def section(source: Source) -> Section:
    """Runs by status: of each experiment, and of each cell that is not complete."""
    table = source.analysis["completeness"]
    whole = table.groupby("experiment", sort=False)[_NUMBERS].sum().reset_index()
    blocks: list[Block] = [
        Text(
            [
                words.capital(sentence(source)) + " Every planned run is counted, whatever became "
                "of it. Diverged and undefined runs are results; failed and missing ones are not"
                + (", and normbench run with the same protocol computes them." if _open(source)
                   else ".")
            ]
        ),
        Table(
            "completeness-experiments", "Runs by status", _columns(["experiment"]),
            _rows(source, whole, ["experiment"]),
        ),
    ]  # fmt: skip
    partial = table[table["finished"] < table["planned"]]
    if not partial.empty:
        keys = ["experiment", "setting", "norm", "batch_size"]
        blocks.append(
            Table(
                "completeness-cells", "Cells that are not complete",
                _columns(["experiment", "setting", "norm", "batch size"]),
                _rows(source, partial, keys),
                filter_by=0,
            )
        )  # fmt: skip
    if source.analysis.refusals:
        blocks.append(Items(source.analysis.refusals, title="What could not be computed"))
    reasons = list(why_none(source))
    if reasons:
        rest = len(reasons) - 50
        more = [f"… and {rest} more, in the column error of the table runs"] if rest > 0 else []
        blocks.append(Items([*reasons[:50], *more], title="Why runs have no result"))
    left_out = _skipped(source)
    if left_out:
        blocks.append(Items(left_out, title="Files of the data that were skipped"))
    divergence = _divergence(source)
    if divergence is not None:
        blocks.append(divergence)
    return Section("completeness", "Completeness", blocks)


def _divergence(source: Source) -> Table | None:
    """The cells in which runs diverged, with the interval of their share."""
    table = source.analysis["divergence"]
    lost = table[table["diverged"] > 0]
    if lost.empty:
        return None
    rows = []
    for row in lost.to_dict("records"):
        low, high = 100 * row["low"], 100 * row["high"]
        rows.append(
            [
                words.text(row["experiment"]), words.text(source.place(row["setting"])),
                words.text(row["norm"]),
                words.count(row["batch_size"]), words.count(row["diverged"]),
                words.count(row["runs"]),
                Value(f"{low:.0f} to {high:.0f} %", sort=low),
            ]
        )  # fmt: skip
    columns = [
        Column("experiment"), Column("setting"), Column("norm"), Column("batch size", number=True),
        Column("diverged", number=True), Column("runs", number=True),
        Column(source.level, number=True, doc="of the share that diverges (Clopper and Pearson)"),
    ]  # fmt: skip
    return Table("completeness-divergence", "Where runs diverged", columns, rows, filter_by=0)
