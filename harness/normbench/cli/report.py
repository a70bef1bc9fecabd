"""``normbench report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def report(
    results: Annotated[
        Path, typer.Argument(help="A results folder; of a folder with several, the latest.")
    ] = Path("results"),
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The HTML file [reports/NAME.html].")
    ] = None,
) -> None:
    """Compute the statistics of RESULTS and write an HTML report, one self-contained file."""
    from normbench.report.html import write_report
    from normbench.results.load import load
    from normbench.workflow import freeze_thresholds

    found = load(results)
    freeze_thresholds(found)
    found = load(found.folder)
    path = output if output is not None else Path("reports") / f"{found.study.name}.html"
    summary = write_report(found, path)
    for line in summary:
        typer.echo(line)
    typer.echo(f"report: {path.resolve().as_uri()}")
