"""``normbench status``."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from normbench.streams import say


def status(
    results: Annotated[
        Path, typer.Argument(help="A results folder, or the folder that holds several.")
    ] = Path("results"),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")] = False,
) -> None:
    """Show how the planned runs of RESULTS stand."""
    from normbench.errors import NormbenchError, ResultsError
    from normbench.plan.expand import expand
    from normbench.results.load import load
    from normbench.results.schema import STATUSES

    folders = [results]
    if not (results / "protocol.json").exists():
        folders = sorted(p.parent for p in results.glob("*/protocol.json"))
    if not folders:
        raise ResultsError(
            f"there are no results under {results}; run `normbench run PROTOCOL` first"
        )
    content: list[tuple[str, str, str, int]] = []
    unreadable = []
    for folder in folders:
        try:
            found = load(folder)
            runs = found.runs
        except NormbenchError as error:
            if len(folders) == 1:
                raise
            unreadable.append(f"{folder.name} cannot be read: {error}")
            continue
        if runs.empty:  # stopped after the protocol was stored and before its plan was
            planned = Counter(run.experiment for run in expand(found.study))
            content += [(folder.name, name, "missing", n) for name, n in planned.items()]
        grouped = runs.groupby(["experiment", "status"], sort=False).size().reset_index()
        for experiment, state, count in grouped.itertuples(index=False):
            content.append((folder.name, str(experiment), str(state), int(count)))
    if as_json:
        keys = ("results", "experiment", "status", "runs")
        say(json.dumps([dict(zip(keys, row, strict=True)) for row in content], indent=1))
        _tell(unreadable)
        return
    from rich.table import Table

    from normbench.terminal import Terminal

    table = Table("results", "experiment", *STATUSES)
    for name, experiment in dict.fromkeys((row[0], row[1]) for row in content):
        counts = {row[2]: row[3] for row in content if row[:2] == (name, experiment)}
        table.add_row(name, experiment, *(f"{counts.get(s, 0):,}" for s in STATUSES))
    Terminal().print(table)
    _tell(unreadable)


def _tell(unreadable: list[str]) -> None:
    """Name the folders that could not be read; the others were shown."""
    for text in unreadable:
        print(text, file=sys.stderr)
    if unreadable:
        raise typer.Exit(1)
