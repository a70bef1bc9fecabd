"""What an interactive session shows of results: a few lines, whatever the size of the study."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import pandas as pd

from normbench.errors import NormbenchError
from normbench.protocol.study import Study
from normbench.results.schema import STATUSES, TABLES

_WIDTH = 96


class Readable(Protocol):
    """What is looked at: the results of one study."""

    @property
    def folder(self) -> Path: ...  # noqa: D102
    @property
    def study(self) -> Study: ...  # noqa: D102
    def read_columns(self, table: str, columns: Sequence[str]) -> pd.DataFrame: ...  # noqa: D102


def look(results: Readable) -> str:
    """About ten lines: the study, where it lies, how its runs stand, its tables, what to call.

    Reads hashes and statuses alone. Says so where the folder cannot be read; raises nothing.
    """
    lines = [f"normbench results in {str(results.folder)!r}"]
    try:
        study = results.study
        lines.append(f"  study: {study.name!r}, {shorten(study.title)!r}")
        names = [f"{e.name} ({len(e.cells):,} cells, {len(e.seeds):,} seeds)"
                 for e in study.experiments]  # fmt: skip
        lines += wrapped("  experiments: ", names, 2)
        runs = results.read_columns("runs", ["run_hash", "status", "planned"])
        found = Counter(runs.loc[runs["planned"], "status"])
        counts = [f"{found[s]:,} {s}" for s in STATUSES if found[s]] or ["none planned"]
        lines.append(f"  runs: {', '.join(counts)}")
        shapes = []
        for table, columns in TABLES.items():
            rows = len(results.read_columns(table, ["run_hash"]))
            shapes.append(f".{table} {rows:,}×{len(columns)}")
        lines += wrapped("  tables (rows × columns): ", shapes, 2)
    except (NormbenchError, OSError) as error:
        first = str(error).partition("\n")[0]
        lines.append(f"  cannot be read: {shorten(first, 300)}")
        return "\n".join(lines)
    lines.append("  more: .curves(), .timings, .study, .provenance, .decisions")
    lines.append("  next: normbench.analyse(results) for estimates, comparisons and verdicts")
    return "\n".join(lines)


def shorten(text: str, most: int = 80) -> str:
    """A text on one line, cut where it is long."""
    line = " ".join(text.split())
    return line if len(line) <= most else line[: most - 1] + "…"


def wrapped(head: str, items: list[str], most: int) -> list[str]:
    """Items in at most ``most`` lines behind ``head``; of more it says how many."""
    shown = len(items)
    while True:
        rest = f", … {len(items) - shown:,} more" if shown < len(items) else ""
        lines = textwrap.wrap(
            head + ", ".join(items[:shown]) + rest, _WIDTH, subsequent_indent="    ",
            break_long_words=False, break_on_hyphens=False,
        )  # fmt: skip
        if len(lines) <= most or shown <= 1:
            return lines
        shown = min(shown - 1, max(1, int(shown * most / len(lines))))
