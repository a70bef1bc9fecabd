"""``normbench analyse``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from normbench.cli.options import end_with
from normbench.cli.told import FreezeOption, marks, notes
from normbench.streams import say


def analyse(
    results: Annotated[
        Path, typer.Argument(help="A results folder; of a folder with several, the latest.")
    ] = Path("results"),
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder for the tables.")
    ] = None,
    freeze: FreezeOption = False,
) -> None:
    """Compute the statistics of RESULTS, print what the claims say and write all tables."""
    from normbench.report.place import check_table_folder
    from normbench.report.told import analyse as compute
    from normbench.report.write import report_name
    from normbench.results.load import load
    from normbench.workflow import note_look, pool

    found = pool(load(results), freeze=freeze)
    analysis = compute(found)
    folder = output if output is not None else Path("reports") / f"{report_name(found)}_tables"
    check_table_folder(folder)
    analysis.save(folder)
    note_look(found, "analyse")
    for row in analysis["claims"].to_dict("records"):
        say(f"{row['hypothesis']}: {row['verdict']}{marks(row)}. {row['sentence']}")
    if analysis["claims"].empty:
        say("the protocol declares no claims; see comparisons.csv and degradation.csv")
    for note in notes(found):
        say(note)
    for text in analysis.refusals:
        say(text, err=True)
    say(f"tables: {folder}")
    end_with(analysis.bugs)
