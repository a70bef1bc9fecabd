"""``normbench check``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from normbench.cli.options import end_with
from normbench.cli.told import FreezeOption, marks, notes
from normbench.streams import say


def check(
    results: Annotated[
        Path, typer.Argument(help="A results folder; of a folder with several, the latest.")
    ] = Path("results"),
    freeze: FreezeOption = False,
) -> None:
    """Exit with 0 only if every claim of RESULTS has the verdict that it expects, else 1."""
    from normbench.analysis.boundary import Boundary
    from normbench.analysis.claims import claim_table
    from normbench.errors import UsageError
    from normbench.report.told import with_sentences
    from normbench.results.load import load
    from normbench.workflow import note_look, pool

    found = pool(load(results), freeze=freeze)
    boundary = Boundary()
    table = with_sentences(claim_table(found, boundary=boundary), found.study)
    gated = table[table["expect"] != ""]
    if gated.empty:
        raise UsageError(
            f"no claim of {found.study.name} says what it expects; "
            'add expect = "supported" (or "refuted", "inconclusive") to a [[claim]]'
        )
    note_look(found, "check")
    failed = 0
    for row in gated.to_dict("records"):
        good = row["as_expected"] == "true"
        failed += not good
        word = "ok" if good else "NOT AS EXPECTED"
        say(
            f"{word}: {row['hypothesis']} is {row['verdict']}, expected {row['expect']}"
            f"{marks(row)}. {row['sentence']}"
        )
    for note in notes(found):
        say(note)
    say(f"{len(gated) - failed} of {len(gated)} as expected")
    end_with(boundary.bugs)
    if failed:
        raise typer.Exit(1)
