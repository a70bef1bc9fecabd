"""Timing: the step of every cell of a results folder, measured in one worker and stored."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from normbench.errors import WorkError
from normbench.executors.base import Executor
from normbench.plan.code import is_absent, targets
from normbench.plan.expand import expand
from normbench.plan.spec import RunSpec, digest
from normbench.protocol.study import Study
from normbench.results import provenance
from normbench.results.decisions import read_decisions
from normbench.results.execution import add_groups, read_execution
from normbench.results.store import Store
from normbench.results.timings import read_timings, write_timings
from normbench.workflow.grouping import environment_record

#: Seconds that a timing pass takes, about, unless it is told otherwise.
SECONDS = 60.0


@dataclass(frozen=True)
class Timed:
    """How many cells have timings now, which have none, and whether this call measured any."""

    cells: int
    left_out: tuple[RunSpec, ...]
    measured: bool


def placed_study(folder: Path) -> Study:
    """The stored study, with the place of the protocol that was run last, where targets are."""
    study = Store(folder).read_study()
    if not any(
        True for series in study.experiments for cell in series.cells for _ in targets(cell)
    ):
        return study
    known = [one.get("protocol") for one in provenance.read_provenance(folder)["invocations"]]
    return study.model_copy(update={"file": str(next(filter(None, reversed(known)), ""))})


def cells_to_time(folder: Path) -> list[RunSpec]:
    """A run of every cell of the stored protocol.

    Left out are cells that have no meaning, those whose learning rate is not chosen yet, and those
    with a component that is not installed here.
    """
    store = Store(folder)
    runs = store.read("runs", ["run_hash", "cell_hash", "status"])
    keys, states = runs.column("cell_hash").to_pylist(), runs.column("status").to_pylist()
    undefined = {key for key, state in zip(keys, states, strict=True) if state == "undefined"}
    found: dict[str, RunSpec] = {}
    for run in expand(placed_study(folder), read_decisions(folder), store.read_document().code):
        tuned = run.phase == "evaluation" and run.cell.learning_rate is not None
        if tuned and run.cell_hash not in undefined and not is_absent(run.cell):
            found.setdefault(run.cell_hash, run)
    return list(found.values())


def measure(
    folder: Path,
    executor: Executor,
    device: str,
    threads: int = 1,
    seconds: float = SECONDS,
    *,
    again: bool = False,
) -> Timed:
    """Time the step of every cell in one worker while the others idle, and store the table.

    The caller holds the folder's lock. Where every cell was timed in this environment before,
    nothing is measured, unless ``again``. A pass replaces an earlier one's rows as a whole, since
    cells are compared within a pass. Raises :class:`WorkError` where nothing could be timed.
    """
    from normbench.calibration.timing import TimingTask, time_cells

    runs = cells_to_time(folder)
    record = environment_record(device)
    environment = digest(record)
    if not again:
        stored = read_timings(folder).select(["cell_hash", "environment", "threads"]).to_pylist()
        same = [row for row in stored if (row["environment"], row["threads"])
                == (environment, threads)]  # fmt: skip
        known = {row["cell_hash"] for row in same}
        if known >= {run.cell_hash for run in runs}:
            return Timed(len(runs), (), False)
    if not runs:
        raise WorkError(f"no cell of {folder} can be timed: all are undefined, or still untuned")
    when = provenance.now()
    task = TimingTask(tuple(runs), device, threads, seconds)
    (done,) = executor.map(time_cells, [task])
    if done.value is None:
        raise WorkError(f"the steps of {folder} could not be timed: {done.error}")
    rows = [{**row, "environment": environment, "measured": when} for row in done.value]
    if environment not in read_execution(folder).environments:
        add_groups(folder, record, [])  # says what the hash stands for
    write_timings(folder, rows)
    timed = {row["cell_hash"] for row in rows}
    return Timed(len(timed), tuple(r for r in runs if r.cell_hash not in timed), True)
