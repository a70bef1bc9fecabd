"""``normbench time``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from normbench.cli.options import DeviceOption
from normbench.cli.trusting import TrustOption, require_trust
from normbench.streams import say

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table

    from normbench.results.load import Results

#: Load per core from which other work is worth a warning.
BUSY = 0.5
_SHOWN = ("step_seconds", "forward_seconds", "backward_seconds")
_LABELS = ("model", "norm", "batch_size")


def time(
    results: Annotated[
        Path, typer.Argument(help="A results folder; of a folder with several, the latest.")
    ] = Path("results"),
    seconds: Annotated[
        float, typer.Option(min=0, max=1e6, metavar="N", help="About how long to measure.")
    ] = 60.0,
    threads: Annotated[
        int, typer.Option(min=1, max=1024, metavar="N", help="Threads of the process.")
    ] = 1,
    device: DeviceOption = "auto",
    trust: TrustOption = False,
) -> None:
    """Time the training step of every cell of RESULTS by itself, and store the seconds.

    Times already stored are replaced.
    """
    from normbench.executors.local import LocalExecutor
    from normbench.protocol.reading import read_text
    from normbench.results.load import load
    from normbench.terminal import Terminal
    from normbench.training.devices import choose_device, choose_devices, worker_variables
    from normbench.training.work import set_up_worker
    from normbench.workflow.run import locked
    from normbench.workflow.timing import measure, placed_study

    found = load(results)
    study = placed_study(found.folder)
    require_trust(study, read_text(Path(study.file)) if study.file else "", grant=trust)
    warn_if_busy()
    device = choose_device(device)
    variables = worker_variables(device, choose_devices(device, None)[:1], 1)
    with (
        locked(found.folder),
        LocalExecutor(1, threads, set_up_worker, variables) as executor,
    ):
        timed = measure(found.folder, executor, device, threads, seconds, again=True)
    console = Terminal()
    console.print(summary(found))
    for run in timed.left_out:
        cell = run.cell
        say(
            f"not timed: {cell.model.label}, {cell.norm.label}, batch size {cell.batch_size} "
            "(it cannot be trained here, or not within memory)",
            err=True,
        )
    say(f"{found.folder}: {timed.cells} cells timed")


def warn_if_busy() -> None:
    """Say in one line that other work will be in the times."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    cores = os.cpu_count() or 1
    if load > BUSY * cores:
        say(
            f"warning: this machine is busy (load {load:.1f} on {cores} cores); its other work "
            "makes steps look slow, and intervals wide",
            err=True,
        )


def summary(found: Results) -> Table:
    """A row per norm and batch size: median milliseconds of a step and its passes, and memory."""
    from rich.table import Table

    table = Table(title="a training step by itself: medians")
    for name in ("model", "norm"):
        table.add_column(name)
    for name in ("batch", "step ms", "forward", "backward", "MiB"):
        table.add_column(name, justify="right")
    rows = medians(found)
    for row in rows.to_dict("records"):
        times = [f"{1e3 * row[name]:.3f}" for name in _SHOWN]
        labels = [str(row[name]) for name in _LABELS]
        table.add_row(*labels, *times, f"{row['memory']:.2f}")
    kinds = ", ".join(dict.fromkeys(rows["memory_kind"]))
    table.caption = f"memory: {kinds}"
    return table


def medians(found: Results) -> pd.DataFrame:
    """The medians over repetitions, one row for all cells that cost the same."""
    by_cell = found.timings.groupby("cell_hash", sort=False)
    values = by_cell[[*_SHOWN, "memory"]].median().join(by_cell["memory_kind"].first())
    cells = found.runs.drop_duplicates("cell_hash")[["cell_hash", *_LABELS]]
    joined = cells.merge(values.reset_index(), on="cell_hash", how="inner")
    return joined.drop(columns="cell_hash").drop_duplicates(ignore_index=True)
