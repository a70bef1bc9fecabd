"""Options that several commands share."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from normbench.streams import say

if TYPE_CHECKING:
    from normbench.protocol.study import Study

ProtocolArgument = Annotated[
    str,
    typer.Argument(
        metavar="PROTOCOL", help="A protocol file, or the name of a bundled one: quick, full."
    ),
]
OnlyOption = Annotated[
    list[str] | None,
    typer.Option(
        "--only", metavar="AXIS=VALUES",
        help="Only runs with these values, such as norm=batch,layer. May be repeated.",
    ),
]  # fmt: skip
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE",
        help="Override the protocol, such as epochs=2 or experiment.NAME.batch_size=8. "
        "May be repeated.",
    ),
]  # fmt: skip
SeedsOption = Annotated[
    int | None, typer.Option("--seeds", metavar="N", help="Use the seeds 0 to N-1 everywhere.")
]
ResultsOption = Annotated[
    str | None,
    typer.Option("--results", metavar="DIR", help="The results folder [default: results/NAME]."),
]
WorkersOption = Annotated[
    int | None,
    typer.Option("--workers", min=0, metavar="N", help="Worker processes; 0 trains in this one."),
]
DeviceOption = Annotated[
    str, typer.Option("--device", help="auto, cpu, cuda, mps, … auto takes an accelerator if any.")
]
DevicesOption = Annotated[
    str | None,
    typer.Option("--devices", metavar="0,2", help="Which accelerators to use [default: all]."),
]


def warn(study: Study) -> None:
    """Print what a reader of the protocol is to know."""
    for text in study.warnings:
        say(f"warning: {text}", err=True)


def end_with(bugs: Sequence[str]) -> None:
    """End with status 1 where something could not be made: the rest was, and is written."""
    for bug in bugs:
        say(f"bug: {bug}", err=True)
    if bugs:
        raise typer.Exit(1)


def results_folder(study: Study, given: str | None) -> Path:
    """The results folder of a study; refused where it can be none."""
    from normbench.protocol.names import folder_name

    folder = Path("results") / folder_name(study.name) if given is None else Path(given)
    reason = "an empty name" if given == "" else _no_folder(folder)
    if reason:
        from normbench.errors import UsageError

        raise UsageError(
            f"the results need a folder of their own; received {reason}; likely fix: --results "
            "with the name of a folder, which may be new"
        )
    return folder


def _no_folder(place: Path) -> str:
    """Why a place cannot be a folder, whether there is one or not; empty where it can."""
    try:
        return "" if place.is_dir() or not place.lstat() else f"{place}, which is no folder"
    except FileNotFoundError:
        return ""
    except OSError as error:
        if error.errno == errno.EACCES:  # told by whoever reads or writes there
            return ""
        return f"{place}, which cannot be one ({error.strerror})"
