"""``normbench run``."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from normbench.cli.options import (
    DeviceOption,
    OnlyOption,
    ProtocolArgument,
    ResultsOption,
    SeedsOption,
    SetOption,
    WorkersOption,
    resolve_device,
    results_folder,
)


def run(
    protocol: ProtocolArgument,
    only: OnlyOption = None,
    overrides: SetOption = None,
    seeds: SeedsOption = None,
    results: ResultsOption = None,
    workers: WorkersOption = None,
    device: DeviceOption = "auto",
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print the end only.")] = False,
) -> None:
    """Train every run of a PROTOCOL that is missing or failed, and store it.

    Run again to resume: what is finished is kept. Exit status 1 if a run failed.
    """
    from rich.console import Console

    from normbench.cli.progress import LiveProgress
    from normbench.executors.inline import InlineExecutor
    from normbench.executors.local import LocalExecutor
    from normbench.protocol.load import find, load_protocol

    path = find(protocol)
    study = load_protocol(path, overrides or (), seeds)
    folder = results_folder(study, results)
    console = Console(quiet=quiet)
    console.print(study.title, style="bold", markup=False, highlight=False)
    from normbench.training.group import set_up_worker
    from normbench.workflow import default_workers, prepare_plan, run_study

    device = resolve_device(device)
    planned = prepare_plan(study)
    count = default_workers(device) if workers is None else workers
    if count:
        executor: InlineExecutor | LocalExecutor = LocalExecutor(count, 1, set_up_worker)
    else:
        set_up_worker()
        executor = InlineExecutor()
    progress = LiveProgress(console)
    given = list(overrides or ()) + ([f"seeds={seeds}"] if seeds is not None else [])
    try:
        summary = run_study(
            planned, path.read_text(encoding="utf-8"), folder, executor, progress,
            device=device, workers=count, only=only or (), overrides=given,
        )  # fmt: skip
    finally:
        progress.close()
    counts = ", ".join(f"{n} {s}" for s, n in sorted(summary.by_status.items()))
    console.print(f"{folder}: {counts}", markup=False, highlight=False)
    if summary.failures:
        print("failed runs:", *summary.failures, sep="\n  ", file=sys.stderr)
        print("run the same command again to retry them", file=sys.stderr)
    if summary.interrupted:
        print(
            "interrupted: what was committed is kept; run the same command again to resume",
            file=sys.stderr,
        )
        raise typer.Exit(130)
    if summary.by_status.get("failed"):
        raise typer.Exit(1)
