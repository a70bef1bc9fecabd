"""``normbench run``."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from normbench.cli import interrupts
from normbench.cli.options import (
    DeviceOption,
    DevicesOption,
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
    from normbench.executors.base import Executor

#: What training in a worker imports.
_WORKERS_LOAD = (
    "normbench.training.group", "normbench.training.packed", "normbench.calibration.calibrate",
    "normbench.calibration.timing",
)  # fmt: skip
#: Seconds that checking cells, or measuring one, may take: what has not ended then hangs.
_CHECKS_WITHIN = 3600.0


def _accelerator(executor: Executor | None) -> str | None:
    """This machine's accelerator, as a worker sees it, which has torch already; else as we do."""
    from normbench.training.devices import accelerator
    from normbench.training.work import find_accelerator

    found = [] if executor is None else list(executor.map(find_accelerator, [()]))
    if not found or found[0].error is not None:
        return accelerator()
    return found[0].value


def run(
    protocol: ProtocolArgument,
    only: OnlyOption = None,
    overrides: SetOption = None,
    seeds: SeedsOption = None,
    results: ResultsOption = None,
    workers: WorkersOption = None,
    device: DeviceOption = "auto",
    devices: DevicesOption = None,
    threads: Annotated[
        int, typer.Option("--threads", min=1, max=1024, metavar="N", help="Threads of a worker.")
    ] = 1,
    engine: Annotated[
        str,
        typer.Option(help="auto measures; plain trains run by run, packed and stacked together."),
    ] = "auto",
    execution: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="The execution.json of other results, to get the same bits."
        ),
    ] = None,
    time_steps: Annotated[
        bool | None,
        typer.Option(
            "--time/--no-time",
            help="Time isolated steps at the end [default: where it takes 2 % of the run or less].",
        ),
    ] = None,
    timeout: Annotated[
        float | None,
        typer.Option(
            "--timeout",
            min=1.0,
            metavar="SECONDS",
            help="How long a worker may take for a group before it is taken to hang [default: 10 "
            "minutes and 20 times what its steps were measured to take].",
        ),
    ] = None,
    recompute: Annotated[
        bool,
        typer.Option(
            "--recompute",
            help="Train the chosen runs anew; earlier rows are kept until the new are committed.",
        ),
    ] = False,
    replace: Annotated[
        bool,
        typer.Option("--replace", help="Let a changed PROTOCOL leave all stored runs unplanned."),
    ] = False,
    trust: TrustOption = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print the end only.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print what happens as JSON, an object a line.")
    ] = False,
) -> None:
    """Train every run of a PROTOCOL that is missing or failed, and store it.

    Run again to resume: what is finished is kept. Exit status 1 unless every chosen run
    is there at the end.
    """
    with interrupts.held():
        from normbench.executors.local import LocalExecutor
        from normbench.executors.server import prepare_workers

    # workers on the CPU load the same modules as this process, at the same time; without a file
    # there may be no protocol
    on_cpu = workers != 0 and device in ("auto", "cpu")
    loading = on_cpu and Path(protocol).is_file() and prepare_workers(_WORKERS_LOAD, threads)

    with interrupts.held():
        from normbench.cli.events import JsonProgress
        from normbench.cli.progress import LiveProgress
        from normbench.executors.inline import InlineExecutor
        from normbench.protocol.load import load_text, read_protocol
        from normbench.terminal import Terminal

    path, text = read_protocol(protocol)
    study = load_text(text, path, overrides or (), seeds)
    warn(study)
    require_trust(study, text, grant=trust)
    folder = results_folder(study, results)
    console = Terminal(quiet=quiet or as_json)
    console.print(study.title, style="bold")
    loading = loading or (on_cpu and prepare_workers(_WORKERS_LOAD, threads))
    with interrupts.held():
        import pandas  # noqa: F401  (for Arrow, while workers load torch)
        import pyarrow

        from normbench.results.execution import read_plan_file
        from normbench.results.store import Store
        from normbench.training.devices import (
            choose_device,
            choose_devices,
            default_workers,
            worker_variables,
        )
        from normbench.training.work import leave_worker, set_up_worker
        from normbench.workflow import prepare_plan, run_study
        from normbench.workflow.data import data_notes
        from normbench.workflow.grouping import engine_mode
        from normbench.workflow.standing import before_training

    # Arrow's own pools keep what was freed: merging the tables would leave the command larger
    pyarrow.set_memory_pool(pyarrow.system_memory_pool())
    mode = engine_mode(engine)
    follow = None if execution is None else read_plan_file(execution)
    progress = JsonProgress() if as_json else LiveProgress(console)
    given = list(overrides or ()) + ([f"seeds={seeds}"] if seeds is not None else [])
    with contextlib.ExitStack() as stack:
        stack.callback(progress.close)
        executor: InlineExecutor | LocalExecutor | None = None
        if loading:
            count = default_workers("cpu", [], threads) if workers is None else workers
            executor = LocalExecutor(
                count, threads, set_up_worker, prepared=True, timeout=timeout or _CHECKS_WITHIN
            )
            stack.enter_context(executor)
        prepared = executor
        planned = prepare_plan(study, executor=prepared)
        for said in (
            *before_training(Store(folder), planned, replace=replace).notes,
            *data_notes(planned.contents),
        ):
            say(said, err=True)
        device = choose_device(device, lambda: _accelerator(prepared))
        names = choose_devices(device, devices, workers)
        if executor is None or device != "cpu":
            if executor is not None:
                executor.close()  # its workers are for the CPU
            count = default_workers(device, names, threads) if workers is None else workers
            if count:
                variables = worker_variables(device, names, count)
                executor = LocalExecutor(
                    count, threads, set_up_worker, variables, timeout=timeout or _CHECKS_WITHIN
                )
            else:
                set_up_worker()
                stack.callback(leave_worker)
                executor = InlineExecutor()
            stack.enter_context(executor)
        summary = run_study(
            planned, text, folder, executor, progress,
            device=device, workers=count, threads=threads, only=only or (), overrides=given,
            engine=mode, timeout=timeout, follow=follow, time_steps=time_steps,
            recompute=recompute, replace=replace,
        )  # fmt: skip
    if isinstance(progress, JsonProgress):
        progress.ended(
            results=str(folder), by_status=summary.by_status, interrupted=summary.interrupted,
            computed=summary.computed,
        )  # fmt: skip
    counts = ", ".join(f"{n} {s}" for s, n in sorted(summary.by_status.items()))
    console.print(f"{folder}: {counts}")
    if summary.untimed:
        console.print(
            f"for the seconds of a step by itself: normbench time {folder}",
        )  # fmt: skip
    if summary.failures:
        say("\n  ".join(["failed runs:", *summary.failures]), err=True)
        say("run the same command again to retry them", err=True)
    if summary.interrupted:
        say(
            "interrupted: what was committed is kept; run the same command again to resume",
            err=True,
        )
        raise typer.Exit(130)
    left = {reason: n for reason, n in summary.unfinished.items() if reason != "failed"}
    if left:
        counts = ", ".join(f"{n} {reason}" for reason, n in left.items())
        say(
            f"not all chosen runs are there: {counts}; run the same command again, and mend first "
            "what made their tuning runs fail if they wait for a learning rate",
            err=True,
        )
    if summary.unfinished or summary.not_renewed:
        raise typer.Exit(1)
