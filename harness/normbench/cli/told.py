"""What commands that look at results say beside the verdicts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from normbench.results.load import Results

FreezeOption = Annotated[
    bool,
    typer.Option(
        "--freeze", help="Keep pooled thresholds as they are now, although runs are missing."
    ),
]


def marks(row: Mapping[Any, Any]) -> str:
    """How a verdict is to be taken, in brackets; empty where there is nothing to say."""
    found = ["fragile"] if row["fragile"] else []
    found += [f"exploratory: {row['deviation']}"] if row["exploratory"] else []
    return f" [{', '.join(found)}]" if found else ""


def notes(results: Results) -> list[str]:
    """What changed since the claims were registered, and where pooled thresholds come from."""
    from normbench.report.pooled import pooled_notes

    found = [f"deviation: {line}" for line in results.deviations.lines]
    return found + [f"pooled threshold of {note}" for note in pooled_notes(results)]
