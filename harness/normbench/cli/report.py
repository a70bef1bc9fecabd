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
    from normbench.results.files import make_folder
    from normbench.results.load import load
    from normbench.workflow import analyse

    found = load(results)
    path = output if output is not None else Path("reports") / f"{found.study.name}.html"
    make_folder(path.parent)  # before the statistics: they take a while
    summary = write_report(found, analyse(found), path)
    for line in summary:
        typer.echo(line)
    typer.echo(f"report: {path.resolve().as_uri()}")
