"""``normbench plan``."""

from __future__ import annotations

import dataclasses
import json
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
from normbench.streams import say

if TYPE_CHECKING:
    from normbench.workflow import PlanSummary


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
        bool, typer.Option("--estimate/--no-estimate", help="Time a few steps of each cell.")
    ] = True,
) -> None:
    """Show what a PROTOCOL would run, without running it."""
    from normbench.protocol.load import load_protocol
    from normbench.results.decisions import read_decisions
    from normbench.results.store import Store

    study = load_protocol(protocol, overrides or (), seeds)
    warn(study)
    store = Store(results_folder(study, results))
    from normbench.training.devices import accelerators, choose_device, default_workers
    from normbench.workflow import prepare_plan, summarise_plan

    device = choose_device(device)
    count = default_workers(device, accelerators()) if workers is None else max(1, workers)
    planned = prepare_plan(study, read_decisions(store.folder))
    summary = summarise_plan(planned, store, only or (), count, device, estimate=estimate)
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


def _print(summary: PlanSummary) -> None:
    from rich.table import Table

    from normbench.cli.console import Terminal

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
    for cell in summary.undefined_cells:
        console.print(
            f"undefined: {cell['experiment']}, {cell['norm']}, batch size {cell['batch_size']}: "
            f"{cell['reason']}"
        )
    for cell in summary.failing_cells:
        console.print(
            f"fails: {cell['experiment']}, {cell['norm']}, batch size {cell['batch_size']}: "
            f"{cell['reason']}",
            markup=False,
            highlight=False,
        )
    for text in summary.void_claims:
        console.print(f"void claim {text}")
    for text in summary.missing_data:
        console.print(f"missing data: {text}")
    for text in summary.skipped_data:
        console.print(text)
    if summary.changed_data:
        console.print(f"run will refuse: {summary.changed_data}")
    if summary.estimated_seconds is not None:
        console.print(f"about {duration(summary.estimated_seconds)} on {summary.workers} worker(s)")
