"""``normbench import``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from normbench.streams import say


def import_runs(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="The runs: CSV, .parquet or .jsonl.")
    ],
    classes: Annotated[
        int,
        typer.Option("--classes", min=2, metavar="N", help="Classes of the data: chance is 1/N."),
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="DIR", help="[default: results/NAME of the file]"),
    ] = None,
    columns: Annotated[
        list[str] | None,
        typer.Option(
            "--column",
            metavar="OURS=THEIRS",
            help="A column that is called otherwise: val_accuracy=valid_acc. Repeatable.",
        ),
    ] = None,
    norms: Annotated[
        list[str] | None,
        typer.Option(
            "--norm",
            metavar="OURS=THEIRS",
            help="A norm that is called otherwise: batch=BatchNorm2d. Repeatable.",
        ),
    ] = None,
    percent: Annotated[
        bool, typer.Option("--percent", help="Accuracies and errors are written in percent.")
    ] = False,
    claims: Annotated[
        Path | None,
        typer.Option("--claims", metavar="FILE", help="[[claim]] tables, as in a protocol."),
    ] = None,
    thresholds: Annotated[
        str,
        typer.Option("--thresholds", metavar="X,…", help="Levels whose first crossing is timed."),
    ] = "",
    window: Annotated[
        int | None,
        typer.Option("--window", min=1, max=1000, help="Last epochs that are averaged."),
    ] = None,
    title: Annotated[str, typer.Option("--title", help="The title of the report.")] = "",
) -> None:
    """Take over the runs of any trainer: report, claims and tables as if trained here.

    A row for each run and epoch, with the columns norm, batch_size, seed, epoch and metrics such as
    val_accuracy, val_error, val_loss, train_loss and test_accuracy.
    """
    from normbench.workflow.imported_table import Written
    from normbench.workflow.importing import RunsFile
    from normbench.workflow.importing import import_runs as take

    given = Written(_pairs("--column", columns), _pairs("--norm", norms), percent)
    wanted = RunsFile(file, classes, given, title, window, _numbers(thresholds), claims)
    done = take(wanted, output or Path("results") / file.stem)
    parts = [f"{done.runs:,} runs of {done.cells} configurations"]
    parts += [f"{done.diverged:,} of them diverged"] if done.diverged else []
    parts += [f"{done.missing:,} missing"] if done.missing else []
    say(f"{done.folder}: {', '.join(parts)}; next: normbench report {done.folder}")


def _pairs(option: str, texts: list[str] | None) -> dict[str, str]:
    from normbench.errors import UsageError

    found = {}
    for text in texts or ():
        ours, separator, theirs = text.partition("=")
        if not separator or not ours or not theirs:
            raise UsageError(f"{option} takes OURS=THEIRS; received {text!r}")
        found[ours] = theirs
    return found


def _numbers(text: str) -> list[float]:
    from normbench.errors import UsageError

    try:
        return [float(part) for part in text.split(",")] if text else []
    except ValueError:
        raise UsageError(
            f"--thresholds takes numbers with commas between them; received {text!r}"
        ) from None
