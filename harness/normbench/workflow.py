"""The workflow: plan, run, resume. The only place that writes results."""

from __future__ import annotations

import contextlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from filelock import FileLock, Timeout

from normbench.errors import DataMissingError, Fault, ProtocolError, ResultsError, UsageError
from normbench.executors.base import Executor
from normbench.plan.expand import expand, select
from normbench.plan.spec import RunSpec, digest
from normbench.protocol.study import Study
from normbench.results import provenance
from normbench.results.files import write_text
from normbench.results.schema import axis_values, planned_rows
from normbench.results.store import Store

#: Seeds of a cell that one worker trains before they are committed together.
GROUP_SEEDS = 4


@dataclass(frozen=True)
class Planned:
    """What a protocol asks for, checked against this machine."""

    study: Study
    runs: list[RunSpec]
    undefined: dict[str, str]
    missing_data: list[str]

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The planned rows of the table ``runs``."""
        return planned_rows(self.runs, self.undefined)


def _where(run: RunSpec) -> str:
    cell = run.cell
    return (
        f"experiment {run.experiment!r} (model {cell.model.label}, norm {cell.norm.label}, "
        f"batch size {cell.batch_size})"
    )


def prepare_plan(study: Study) -> Planned:
    """Expand a study and check every cell: data present, batch sizes and shapes that fit.

    Raises :class:`ProtocolError` with all misfits at once.
    """
    from normbench.training.check import check_cell

    runs = expand(study)
    undefined: dict[str, str] = {}
    missing: dict[str, None] = {}
    faults: dict[str, Fault] = {}
    for run in _one_per_cell(runs):
        try:
            reason = check_cell(run.cell)
        except DataMissingError as error:
            missing[str(error)] = None
        except UsageError as error:
            faults.setdefault(str(error), Fault(_where(run), "", str(error)))
        else:
            if reason is not None:
                undefined[run.cell_hash] = reason
    if faults:
        raise ProtocolError(f"protocol {study.name}", list(faults.values()))
    return Planned(study, runs, undefined, list(missing))


def _one_per_cell(runs: Iterable[RunSpec]) -> list[RunSpec]:
    return list({run.cell_hash: run for run in reversed(list(runs))}.values())[::-1]


# -- state ------------------------------------------------------------------------------------


def statuses(store: Store, planned: Planned) -> dict[str, str]:
    """The status of each planned run by its hash, from what is stored."""
    stored = store.read("runs") if store.exists else None
    known: dict[str, str] = {}
    if stored is not None:
        keys, values = stored.column("run_hash").to_pylist(), stored.column("status").to_pylist()
        known = dict(zip(keys, values, strict=True))
    result = {}
    for run in planned.runs:
        if run.cell_hash in planned.undefined:
            result[run.run_hash] = "undefined"
        else:
            result[run.run_hash] = known.get(run.run_hash, "missing")
    return result


@dataclass
class PlanSummary:
    """What `normbench plan` tells."""

    name: str
    experiments: list[dict[str, Any]]
    cells: int
    runs: int
    by_status: dict[str, int]
    to_run: int
    undefined_cells: list[dict[str, Any]]
    missing_data: list[str]
    estimated_seconds: float | None
    workers: int


def summarise_plan(
    planned: Planned,
    store: Store,
    only: Sequence[str],
    workers: int,
    device: str,
    *,
    estimate: bool = True,
) -> PlanSummary:
    """Count what would run, and estimate how long it takes from a few timed steps."""
    status = statuses(store, planned)
    chosen = select(planned.runs, only)
    pending = _pending(chosen, status)
    experiments = []
    for series in planned.study.experiments:
        own = [run for run in planned.runs if run.experiment == series.name]
        experiments.append(
            {
                "name": series.name,
                "title": series.title,
                "cells": len(series.cells),
                "seeds": len(series.seeds),
                "runs": len(own),
                "varies": list(series.varies),
                **Counter(status[run.run_hash] for run in own),
            }
        )
    undefined = [
        {"experiment": run.experiment, "norm": run.cell.norm.label,
         "batch_size": run.cell.batch_size, "model": run.cell.model.label,
         "reason": planned.undefined[run.cell_hash]}
        for run in _one_per_cell(planned.runs)
        if run.cell_hash in planned.undefined
    ]  # fmt: skip
    seconds = None
    if estimate and not planned.missing_data:
        seconds = _estimate(pending, device) / max(1, min(workers, len(pending)))
    return PlanSummary(
        name=planned.study.name,
        experiments=experiments,
        cells=len(_one_per_cell(planned.runs)),
        runs=len(planned.runs),
        by_status=dict(Counter(status[run.run_hash] for run in planned.runs)),
        to_run=len(pending),
        undefined_cells=undefined,
        missing_data=planned.missing_data,
        estimated_seconds=seconds,
        workers=workers,
    )


def _estimate(pending: list[RunSpec], device: str, most_cells: int = 80) -> float:
    """Seconds of one worker for all pending runs; beyond ``most_cells`` a sample is timed."""
    from normbench.training.estimate import seconds_of_run

    cells = _one_per_cell(pending)
    sample = cells[:: max(1, -(-len(cells) // most_cells))]
    counts = Counter(run.cell_hash for run in pending)
    timed = {run.cell_hash: seconds_of_run(run, device) for run in sample}
    if not timed:
        return 0.0
    mean = sum(timed.values()) / len(timed)
    return sum(timed.get(cell, mean) * count for cell, count in counts.items())


def _pending(runs: Iterable[RunSpec], status: dict[str, str]) -> list[RunSpec]:
    """Runs that are to be computed, each once even if two experiments plan it."""
    wanted = {run.run_hash: run for run in runs if status[run.run_hash] in ("missing", "failed")}
    return list(wanted.values())


# -- running ----------------------------------------------------------------------------------


class Observer(Protocol):
    """Is told how a sweep goes."""

    def started(self, total: int, done: int, workers: int) -> None:
        """``total`` runs are to be computed; ``done`` planned runs were there already."""

    def finished(self, rows: list[dict[str, Any]]) -> None:
        """Runs were committed; ``rows`` are their rows of the table ``runs``."""


@dataclass
class Summary:
    """How a sweep ended."""

    folder: Path
    computed: int = 0
    interrupted: bool = False
    by_status: dict[str, int] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)


def _groups(pending: list[RunSpec], device: str, execution: str) -> list[Any]:
    """Group the seeds of a cell; first seeds of all cells come first, long runs before short.

    An interrupted sweep so has something on every cell, and no long group starts last.
    """
    from normbench.training.group import Group

    by_cell: dict[str, list[RunSpec]] = {}
    for run in pending:
        by_cell.setdefault(run.cell_hash, []).append(run)
    chunks: list[tuple[int, float, tuple[RunSpec, ...]]] = []
    for runs in by_cell.values():
        steps = runs[0].cell.epochs / runs[0].cell.batch_size
        for i in range(0, len(runs), GROUP_SEEDS):
            chunks.append((i, -steps, tuple(runs[i : i + GROUP_SEEDS])))
    chunks.sort(key=lambda chunk: chunk[:2])
    return [
        Group(f"{number:06d}", runs, device, execution)
        for number, (_, _, runs) in enumerate(chunks)
    ]


def _with_axes(rows: list[dict[str, Any]], runs: Sequence[RunSpec]) -> list[dict[str, Any]]:
    values = {run.cell_hash: axis_values(run.cell) for run in runs}
    by_hash = {run.run_hash: run for run in runs}
    full = []
    for row in rows:
        run = by_hash[row["run_hash"]]
        key = {"experiment": run.experiment, "cell_hash": run.cell_hash, "seed": run.seed}
        full.append({**key, "planned": True, **values[run.cell_hash], **row})
    return full


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock")
        lock.acquire(timeout=0)
    except Timeout:
        raise UsageError(
            f"another normbench is writing to {folder}; wait for it, or give this one another "
            "folder with --results"
        ) from None
    except OSError as error:
        raise UsageError(
            f"cannot write to the results folder {folder}: {error.strerror}; choose another "
            "with --results, or allow writing"
        ) from None
    try:
        yield
    finally:
        lock.release()


def execution_record(device: str, threads: int) -> dict[str, Any]:
    """How runs are executed: everything besides the run itself that may change its last bits."""
    environment = provenance.environment()
    return {
        "engine": "plain",
        "device": device,
        "threads": threads,
        "dtype": "float32",
        "cpu": environment["cpu"],
        "versions": {k: environment["versions"][k] for k in ("torch", "numpy")},
    }


def _record_execution(folder: Path, record: dict[str, Any]) -> str:
    key = digest(record)
    path = folder / "execution.json"
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        known = {}
    if key not in known:
        write_text(path, json.dumps({**known, key: record}, indent=1, sort_keys=True) + "\n")
    return key


def _check_folder(store: Store, study: Study) -> None:
    """Refuse a folder that holds another protocol's results."""
    if not store.exists:
        return
    try:
        stored = store.read_study()
    except ResultsError as error:
        if "newer" in str(error):
            raise
        return  # a damaged protocol.json is written anew
    if stored.name != study.name:
        raise ResultsError(
            f"{store.folder} holds the results of the protocol {stored.name!r}, not of "
            f"{study.name!r}; give this protocol a folder of its own with --results"
        )


def run_study(
    planned: Planned,
    source: str,
    folder: Path,
    executor: Executor,
    observer: Observer,
    *,
    device: str,
    workers: int,
    threads: int = 1,
    only: Sequence[str] = (),
    overrides: Sequence[str] = (),
) -> Summary:
    """Compute what is missing or failed, commit each group as it finishes, and merge the tables.

    ``source`` is the protocol file's text. What is finished in ``folder`` is kept and not
    computed again. An interrupt stops the workers, keeps every committed group and returns a
    summary that says so.
    """
    from normbench.training.group import train_group

    if planned.missing_data:
        raise DataMissingError("\n".join(planned.missing_data))
    store = Store(folder)
    _check_folder(store, planned.study)
    chosen = select(planned.runs, only)
    with _locked(folder):
        store.clean()
        store.write_study(planned.study, source)
        store.consolidate(planned.rows)
        status = statuses(store, planned)
        pending = _pending(chosen, status)
        execution = _record_execution(folder, execution_record(device, threads))
        invocation: dict[str, Any] = {
            "started": provenance.now(),
            "command": provenance.command_line(),
            "process": os.getpid(),
            "only": list(only),
            "overrides": list(overrides),
            "device": device,
            "workers": workers,
            "threads": threads,
            **provenance.environment(),
        }
        provenance.record_invocation(folder, invocation)
        observer.started(len(pending), len(planned.runs) - len(pending), workers)
        summary = Summary(folder)
        groups = _groups(pending, device, execution)
        results = executor.map(train_group, groups)
        try:
            for done in results:
                rows = _rows_of(done)
                rows["runs"] = _with_axes(rows["runs"], done.task.runs)
                store.write_group(done.task.name, rows)
                summary.computed += len(rows["runs"])
                observer.finished(rows["runs"])
        except KeyboardInterrupt:
            summary.interrupted = True
        except BaseException:
            _close(results)
            # What is committed stays in parts/ even if there is no room left to merge it.
            with contextlib.suppress(Exception):
                store.consolidate(planned.rows)
            raise
        _close(results)
        store.consolidate(planned.rows)
        _finish(summary, store, planned)
        invocation |= {
            "ended": provenance.now(),
            "computed": summary.computed,
            "interrupted": summary.interrupted,
        }
        provenance.record_invocation(folder, invocation)
    return summary


def _close(results: Any) -> None:
    close = getattr(results, "close", None)
    if close is not None:
        close()


def _rows_of(done: Any) -> dict[str, list[dict[str, Any]]]:
    if done.value is not None:
        value = done.value
        return {"runs": value.runs, "epochs": value.epochs, "predictions": value.predictions}
    failed = [
        {
            "run_hash": run.run_hash,
            "status": "failed",
            "error": done.error,
            "execution_hash": done.task.execution_hash,
            "device": done.task.device,
        }
        for run in done.task.runs
    ]
    return {"runs": failed, "epochs": [], "predictions": []}


def _finish(summary: Summary, store: Store, planned: Planned) -> None:
    table = store.read("runs").to_pylist()
    wanted = {run.run_hash for run in planned.runs}
    rows = [row for row in table if row["planned"] and row["run_hash"] in wanted]
    summary.by_status = dict(Counter(row["status"] for row in rows))
    errors = Counter(row["error"] for row in rows if row["status"] == "failed")
    summary.failures = [f"{count} × {error}" for error, count in errors.most_common(10)]


def default_workers(device: str) -> int:
    """Workers for a device: one per core on the CPU, one where an accelerator does the work."""
    if device != "cpu":
        return 1
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1
