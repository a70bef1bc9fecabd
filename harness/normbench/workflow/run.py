"""Running: what is missing is computed, committed and merged. The only writer of results."""

from __future__ import annotations

import contextlib
import json
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from filelock import FileLock, Timeout

from normbench.errors import DataMissingError, UsageError
from normbench.executors.base import Executor
from normbench.plan.expand import select
from normbench.plan.spec import RunSpec, digest
from normbench.protocol.study import Study
from normbench.results import provenance
from normbench.results.decisions import read_decisions, register_claims
from normbench.results.files import read_object, write_text
from normbench.results.schema import axis_values
from normbench.results.store import DONE, Store
from normbench.workflow.decide import decide_rates
from normbench.workflow.plan import Planned, check_folder, pending_runs, replan, statuses

#: Seeds of a cell that one worker trains before they are committed together.
GROUP_SEEDS = 4

# -- running ----------------------------------------------------------------------------------


class Observer(Protocol):
    """Is told how a sweep goes."""

    def started(self, total: int, done: int, workers: int) -> None:
        """``total`` runs are to be computed; ``done`` of those asked for were there already."""

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
        steps = runs[0].cell.budget_in_steps(10_000 // runs[0].cell.batch_size)
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
        key["phase"] = run.phase
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
    known = read_object(path) or {}
    if key not in known:
        write_text(path, json.dumps({**known, key: record}, indent=1, sort_keys=True) + "\n")
    return key


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
    check_folder(store, planned.study)
    select(planned.runs, only)  # a condition that nothing meets is refused before anything starts
    with _locked(folder):
        store.clean()
        store.write_study(planned.study, source)
        register_claims(folder, planned.study)
        planned = replan(planned, read_decisions(folder))
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
        summary = Summary(folder)
        while True:
            store.consolidate(planned.rows)
            chosen = select(planned.runs, only)
            status = statuses(store, planned)
            pending = pending_runs(chosen, status)
            done = sum(status[run.run_hash] in DONE for run in chosen)
            observer.started(len(pending), done, workers)
            groups = _groups(pending, device, execution)
            _compute(executor.map(train_group, groups), store, planned, summary, observer)
            store.consolidate(planned.rows)
            # tuning runs that are complete decide rates, and their evaluation runs can follow
            if summary.interrupted or not decide_rates(planned.study, folder):
                break
            planned = replan(planned, read_decisions(folder))
        _finish(summary, store, planned)
        invocation |= {
            "ended": provenance.now(),
            "computed": summary.computed,
            "interrupted": summary.interrupted,
        }
        provenance.record_invocation(folder, invocation)
    return summary


def _compute(
    results: Iterator[Any], store: Store, planned: Planned, summary: Summary, observer: Observer
) -> None:
    """Commit groups as they finish; an interrupt stops the workers and is noted."""
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
