"""``normbench plan``."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from normbench.cli.options import (
    DeviceOption,
    OnlyOption,
    ProtocolArgument,
    ResultsOption,
    SeedsOption,
    SetOption,
    WorkersOption,
    results_folder,
    warn,
)
from normbench.cli.trusting import TrustOption, require_trust
from normbench.streams import say

if TYPE_CHECKING:
    from normbench.workflow import PlanSummary
    from normbench.workflow.plan_summary import Estimating


class EstimateEffort(StrEnum):
    """How much time an estimate may take."""

    QUICK = "quick"
    FULL = "full"
    NONE = "none"


def plan(
    protocol: ProtocolArgument,
    only: OnlyOption = None,
    overrides: SetOption = None,
    seeds: SeedsOption = None,
    results: ResultsOption = None,
    workers: WorkersOption = None,
    device: DeviceOption = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")] = False,
    estimate: Annotated[
        EstimateEffort,
        typer.Option(
            "--estimate",
            help="How long it will take: quick times the cells that weigh most, for 5 seconds; "
            "full times up to 80; none times nothing.",
        ),
    ] = EstimateEffort.QUICK,
    no_estimate: Annotated[
        bool, typer.Option("--no-estimate", help="The same as --estimate none.")
    ] = False,
    trust: TrustOption = False,
) -> None:
    """Show what a PROTOCOL would run, without running it."""
    from normbench.protocol.load import load_text, read_protocol
    from normbench.results.decisions import read_decisions
    from normbench.results.store import Store

    path, text = read_protocol(protocol)
    study = load_text(text, path, overrides or (), seeds)
    warn(study)
    require_trust(study, text, grant=trust)
    store = Store(results_folder(study, results))
    from normbench.training.devices import accelerators, choose_device, default_workers
    from normbench.workflow import prepare_plan, summarise_plan

    device = choose_device(device)
    count = default_workers(device, accelerators()) if workers is None else max(1, workers)
    planned = prepare_plan(study, read_decisions(store.folder))
    chosen: Estimating = "none" if no_estimate else estimate.value
    summary = summarise_plan(planned, store, only or (), count, device, estimate=chosen)
    if as_json:
        say(json.dumps(dataclasses.asdict(summary), indent=1))
    else:
        _print(summary)


def duration(seconds: float) -> str:
    """Seconds as a person says them."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def _first(lines: list[str], most: int = 20) -> list[str]:
    """Lines that differ, with how often each is there; of many the first, and how many follow."""
    counts = Counter(lines)
    shown = [f"{line} (×{n:,})" if n > 1 else line for line, n in counts.items()]
    if len(shown) > most:
        shown[most:] = [f"… and {len(shown) - most:,} more such lines: --json lists all"]
    return shown


def _rests_on(summary: PlanSummary) -> str:
    """What an estimate is worth, in words."""
    timed, waiting = summary.timed_cells, summary.waiting_cells
    if timed == waiting:
        return f"all {waiting:,} cells were timed" if waiting else "nothing waits"
    return (
        f"{timed:,} of {waiting:,} cells were timed, the others are taken to be like them "
        "(--estimate full times more)"
    )


def _print(summary: PlanSummary) -> None:
    from rich.table import Table

    from normbench.terminal import Terminal

    console = Terminal()
    table = Table("experiment", "varies", "cells", "seeds", "runs", "done", "undefined", "to run")
    for row in summary.experiments:
        done = row.get("finished", 0) + row.get("diverged", 0)
        undefined = row.get("undefined", 0)
        numbers = (row["cells"], row["seeds"], row["runs"], done, undefined)
        to_run = row["runs"] - done - undefined
        varies = " × ".join(row["varies"])
        table.add_row(row["name"], varies, *(f"{n:,}" for n in (*numbers, to_run)))
    console.print(table)
    console.print(f"{summary.cells:,} cells, {summary.runs:,} runs; {summary.to_run:,} to run")
    for note in summary.notes:
        console.print(note)
    undefined, failing = (
        [f"{what}: {c['experiment']}, {c['norm']}, batch size {c['batch_size']}: {c['reason']}"
         for c in cells]
        for what, cells in (
            ("undefined", summary.undefined_cells), ("fails", summary.failing_cells)
        )
    )  # fmt: skip
    void = [f"void claim {text}" for text in summary.void_claims]
    for text in (*_first(undefined), *_first(failing), *_first(void)):
        console.print(text)
    for text in summary.missing_data:
        console.print(f"missing data: {text}")
    for text in summary.skipped_data:
        console.print(text)
    if summary.changed_data:
        console.print(f"run will refuse: {summary.changed_data}")
    for reason, count in summary.run_by_run.items():
        cells = "1 cell trains" if count == 1 else f"{count:,} cells train"
        console.print(f"{cells} run by run: {reason}")
    for reason, count in summary.left_out.items():
        cells = "1 cell has" if count == 1 else f"{count:,} cells have"
        console.print(f"{cells} an engine less: {reason}")
    if summary.estimated_seconds is not None:
        console.print(
            f"about {duration(summary.estimated_seconds)} on {summary.workers} worker(s); "
            f"{_rests_on(summary)}"
        )
