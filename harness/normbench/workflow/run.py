"""Running: what is missing is computed, committed and merged. The only writer of results."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from filelock import FileLock, Timeout

from normbench.errors import DataMissingError, UsageError, WorkError
from normbench.executors.base import Executor
from normbench.plan.execution import ExecutionPlan
from normbench.plan.expand import select
from normbench.plan.spec import RunSpec
from normbench.results import provenance
from normbench.results.contents import record_contents, record_renewed
from normbench.results.decisions import read_decisions
from normbench.results.execution import read_execution
from normbench.results.registration import register_claims
from normbench.results.schema import DONE, axis_values, code_text
from normbench.results.store import Store
from normbench.workflow.data import check_data
from normbench.workflow.decide import decide_rates
from normbench.workflow.grouping import EngineMode, Grouping, check_followed, environment_record
from normbench.workflow.plan import (
    Planned,
    pending_runs,
    replan,
    statuses,
)
from normbench.workflow.renew import Renewal
from normbench.workflow.shares import share_done, weights_of
from normbench.workflow.standing import before_training
from normbench.workflow.summary import Summary, count
from normbench.workflow.timing import measure
from normbench.workflow.unplanned import last_study

#: The timing pass at the end of a sweep: its share of the sweep's time, the seconds that a cell
#: needs at least, and the most seconds.
_TIMING_SHARE, _TIMING_CELL, _TIMING_MOST = 0.02, 0.2, 120.0

# -- running ----------------------------------------------------------------------------------


class Observer(Protocol):
    """Is told how a sweep goes."""

    def started(self, total: int, done: int, workers: int) -> None:
        """``total`` runs are to be computed; ``done`` of those asked for were there already."""

    def progressed(self, share: float) -> None:
        """Of the work that was to be done when training began, ``share`` is done (0 to 1)."""

    def finished(self, rows: list[dict[str, Any]]) -> None:
        """Runs were committed; ``rows`` are their rows of the table ``runs``."""


def _with_axes(rows: list[dict[str, Any]], runs: Sequence[RunSpec]) -> list[dict[str, Any]]:
    values = {run.cell_hash: axis_values(run.cell) for run in runs}
    by_hash = {run.run_hash: run for run in runs}
    full = []
    for row in rows:
        run = by_hash[row["run_hash"]]
        key = {"experiment": run.experiment, "cell_hash": run.cell_hash, "seed": run.seed}
        key |= {"phase": run.phase, "code": code_text(run)}
        full.append({**key, "planned": True, **values[run.cell_hash], **row})
    return full


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a results folder for writing; refused where another process holds it."""
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
    engine: EngineMode = "auto",
    timeout: float | None = None,
    follow: ExecutionPlan | None = None,
    time_steps: bool | None = False,
    recompute: bool = False,
    replace: bool = False,
) -> Summary:
    """Compute what is missing or failed, commit each group as it finishes, and merge the tables.

    ``source`` is the protocol file's text. What is finished in ``folder`` is kept and not
    computed again. An interrupt stops the workers, keeps every committed group and returns a
    summary that says so. ``engine`` is ``auto`` (measured), ``plain`` or ``packed``; ``timeout``
    are the seconds after which a group is taken to hang (default: by what was measured);
    ``follow`` is the execution plan of other results, for the same bits. ``time_steps`` measures
    the isolated step of every cell at the end, where that was not done before; None does so only
    where it takes a small share of the sweep's time. With ``recompute`` the runs that ``only``
    chooses are computed anew, whatever there is of them; a run's earlier results stand until its
    new ones are committed, and stay where it fails.
    ``replace`` lets a changed protocol leave every stored run
    unplanned; else that is refused.
    """
    began = time.perf_counter()
    if planned.missing_data:
        raise DataMissingError("\n".join(planned.missing_data))
    store = Store(folder)
    standing = before_training(store, planned, replace=replace)
    provenance.read_provenance(folder)  # what cannot be read is told before anything is written
    read_execution(folder)
    select(planned.runs, only)  # a condition that nothing meets is refused before anything starts
    check_data(store, planned, only, recompute=recompute)
    environment = environment_record(device)
    if follow is not None:
        check_followed(follow, environment)
    with locked(folder):
        store.hold()
        store.clean()
        register_claims(folder, planned.study, standing.finished, last_study(store), planned.basis)
        store.write_study(planned.study, source, planned.code)
        record_contents(folder, check_data(store, planned, only, recompute=recompute))
        planned = replan(planned, read_decisions(folder))
        grouping = Grouping(
            folder, device, environment, executor, workers, threads, engine, timeout
        )
        grouping.contents = planned.contents
        if follow is not None:
            grouping.follow(follow)
        invocation: dict[str, Any] = {
            "started": provenance.now(),
            "command": provenance.command_line(),
            "process": os.getpid(),
            # where the code of targets is found again, to time its steps
            **({"protocol": planned.study.file} if planned.has_targets else {}),
            "only": list(only),
            "recompute": recompute,
            "overrides": list(overrides),
            "device": device,
            "workers": workers,
            "threads": threads,
            "code": [code.record() for _, code in sorted(planned.code.items())],
            **provenance.environment(),
        }
        provenance.record_invocation(folder, invocation)
        summary = Summary(folder)
        renewal = Renewal(recompute)
        while True:
            since = time.perf_counter()
            store.consolidate(planned.rows)
            chosen = select(planned.runs, only)
            stored = statuses(store, planned)
            status = renewal.seen(stored)
            pending = renewal.first(pending_runs(chosen, status))
            done = sum(status[run.run_hash] in DONE for run in chosen)
            observer.started(len(pending), done, workers)
            summary.spend("start", since)
            renewal.begin(pending, stored)
            _compute(grouping, pending, store, planned, summary, observer, renewal)
            since = time.perf_counter()
            store.consolidate(planned.rows)
            summary.spend("merge", since)
            if summary.interrupted:
                break
            # tuning runs that are complete decide rates, and their evaluation runs can follow
            decided = decide_rates(planned.study, folder, renewal.tuned(planned.runs))
            if not decided and not renewal.more(select(planned.runs, only)):
                break
            planned = replan(planned, read_decisions(folder))
        record_renewed(folder, summary.committed)
        needed = _TIMING_CELL * len({run.cell_hash for run in planned.runs})
        share = _TIMING_SHARE * (time.perf_counter() - began)
        wanted = share >= needed if time_steps is None else time_steps
        if wanted and summary.computed and not summary.interrupted:
            seconds = min(_TIMING_MOST, max(needed, share))
            with contextlib.suppress(WorkError):  # the results are whole without it
                measure(folder, executor, device, threads, seconds)
        summary.untimed = time_steps is None and not wanted and bool(summary.computed)
        invocation |= {
            "ended": provenance.now(),
            "computed": summary.computed,
            "interrupted": summary.interrupted,
            "seconds": summary.seconds,
        }
        provenance.record_invocation(folder, invocation)
        count(summary, store, planned.runs, select(planned.runs, only))
    return summary


def _compute(
    grouping: Grouping,
    pending: list[RunSpec],
    store: Store,
    planned: Planned,
    summary: Summary,
    observer: Observer,
    renewal: Renewal,
) -> None:
    """Form groups, commit them as they finish; an interrupt stops the workers and is noted.

    A group that does not fit into memory is computed in halves, and one whose worker died once
    more: what the machine did to it, it may not do again.
    """
    from normbench.training.work import train_group

    results: Iterator[Any] = iter(())
    try:
        since = time.perf_counter()
        groups = grouping.form(pending, planned.runs)
        since = summary.spend("form", since)
        formed = len(groups)
        weights = weights_of(groups)
        retried: set[str] = set()
        observer.progressed(0.0)
        while groups:
            too_large, again = [], []
            under_way = list(groups)
            results = grouping.executor.map(train_group, groups, grouping.limit)
            for done in results:
                under_way.remove(done.task)
                if done.value is None and _too_large(done):
                    too_large.append(done.task)
                    continue
                if done.died and done.task.name not in retried:
                    again.append(done.task)  # what ended a worker once may not do so again
                    continue
                rows, kept = renewal.to_commit(_rows_of(done))
                summary.not_renewed += len(kept)
                summary.failures += kept
                rows["runs"] = _with_axes(rows["runs"], done.task.runs)
                store.write_group(done.task.name, rows)
                summary.computed += len(rows["runs"])
                summary.committed |= {r["run_hash"] for r in rows["runs"] if r["status"] in DONE}
                for run in done.task.runs:
                    weights.pop(run.run_hash, None)
                observer.progressed(share_done(weights, under_way[: max(1, grouping.workers) - 1]))
                observer.finished(rows["runs"])
            groups = again
            for group in too_large:
                groups = [*groups, *grouping.halve(group, formed)]
                formed += 2
            retried = {group.name for group in groups}
        summary.spend("compute", since)
    except KeyboardInterrupt:
        summary.interrupted = True
    except BaseException:
        _close(results)
        # What is committed stays in parts/ even if there is no room left to merge it.
        with contextlib.suppress(Exception):
            store.consolidate(planned.rows)
        raise
    _close(results)


def _too_large(done: Any) -> bool:
    """Whether a group that failed may succeed in halves: memory did not suffice for all of it."""
    together = done.task.engine.name != "plain" and len(done.task.runs) > 1
    return together and (done.killed or out_of_memory(done.error))


def out_of_memory(error: str | None) -> bool:
    """Whether the words of an error say that memory did not suffice."""
    said = (error or "").lower()
    signs = ("out of memory", "memoryerror", "can't allocate memory", "not enough memory")
    return any(sign in said for sign in signs)


def _close(results: Any) -> None:
    close = getattr(results, "close", None)
    if close is not None:
        close()


def _rows_of(done: Any) -> dict[str, list[dict[str, Any]]]:
    if done.value is not None:
        value = done.value
        return {
            "runs": value.runs,
            "epochs": value.epochs,
            "predictions": value.predictions,
            "probes": value.probes,
        }
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
    return {"runs": failed, "epochs": [], "predictions": [], "probes": []}
