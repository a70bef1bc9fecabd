"""Planning: what a protocol asks for, checked against this machine, and how it stands."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, cast

from normbench.catalog.fingerprints import Fingerprints
from normbench.datasets.content import Content
from normbench.errors import (
    Fault,
    NewerResultsError,
    ProtocolError,
    ResultsError,
    UnreadableResultsError,
)
from normbench.executors.base import Executor
from normbench.plan.code import fingerprints_of, packages_in, targets
from normbench.plan.decisions import Decisions, cell_key
from normbench.plan.expand import expand, select
from normbench.plan.spec import RunSpec
from normbench.protocol.declared import code_key, data_key
from normbench.protocol.schema import Cell
from normbench.protocol.study import Study
from normbench.results.decisions import read_decisions
from normbench.results.files import DamagedError
from normbench.results.looked import read_looks
from normbench.results.registration import read_registration, upcoming
from normbench.results.schema import PlannedRows
from normbench.results.store import Store
from normbench.workflow.data import data_changes, data_notes
from normbench.workflow.unplanned import Unplanned, count_unplanned, refuse_to_lose

if TYPE_CHECKING:
    from normbench.calibration.forecast import Forecast
    from normbench.training.tasks import Checked

Estimating = Literal["quick", "full", "none"]
#: Seconds that a quick estimate takes, but for the cell it is at.
QUICK_SECONDS = 5.0


@dataclass(frozen=True)
class Planned:
    """What a protocol asks for, checked against this machine."""

    study: Study
    runs: list[RunSpec]
    undefined: dict[str, str]
    missing_data: list[str]
    reasons: dict[str, str] = field(default_factory=dict)
    contents: dict[str, Content] = field(default_factory=dict)
    #: The code of the components of other packages, by component.
    code: Fingerprints = field(default_factory=dict)
    #: What a component of another package raised when a cell was checked, by the cell's hash.
    failing: dict[str, str] = field(default_factory=dict)

    @property
    def basis(self) -> dict[str, str]:
        """What decides the numbers besides the protocol: code of other packages, and data."""
        found = {code_key(key): code.label for key, code in self.code.items()}
        return found | {
            data_key(json.loads(name)): content.sha256[:8]
            for name, content in self.contents.items()
        }

    @property
    def has_targets(self) -> bool:
        """Whether any run uses code of the user's own, by its target."""
        return any(True for run in _one_per_cell(self.runs) for _ in targets(run.cell))

    @property
    def rows(self) -> PlannedRows:
        """The planned rows of the table ``runs``."""
        return PlannedRows(self.runs, self.undefined)


def _where(run: RunSpec) -> str:
    cell = run.cell
    return (
        f"experiment {run.experiment!r} (model {cell.model.label}, norm {cell.norm.label}, "
        f"batch size {cell.batch_size})"
    )


def prepare_plan(
    study: Study, decisions: Decisions | None = None, executor: Executor | None = None
) -> Planned:
    """Expand a study and check every cell: data present, batch sizes and shapes that fit.

    Nets are built for it, which takes torch: a worker of ``executor`` does so where one is given,
    else this process. Raises :class:`ProtocolError` with all misfits at once.
    """
    code = fingerprints_of(study)
    runs = expand(study, decisions, code)
    reasons: dict[str, str] = {}
    failing: dict[str, str] = {}
    contents: dict[str, Content] = {}
    missing: dict[str, None] = {}
    faults: dict[str, Fault] = {}
    # the learning rate decides no shape: a cell is checked once for all its rates
    keys = _keys(runs)
    different = list({keys[run.cell_hash]: run for run in _one_per_cell(runs)}.values())
    for run, found in zip(different, _check(different, executor), strict=True):
        contents |= found.content
        if found.kind == "missing":
            missing[found.why] = None
        elif found.kind == "misfit":
            faults.setdefault(found.why, Fault(_where(run), "", found.why))
        elif found.kind == "undefined":
            reasons[keys[run.cell_hash]] = found.why
        elif found.kind == "failed":  # it is tried all the same, and its runs say so
            failing[keys[run.cell_hash]] = found.why
    if faults:
        raise ProtocolError(f"protocol {study.name}", list(faults.values()))
    undefined = {cell: reasons[key] for cell, key in keys.items() if key in reasons}
    failing = {cell: failing[key] for cell, key in keys.items() if key in failing}
    return Planned(study, runs, undefined, list(missing), reasons, contents, code, failing)


def _check(runs: list[RunSpec], executor: Executor | None) -> list[Checked]:
    from normbench.training.work import check_cells

    # all at once: the worker loads each data set a single time
    if executor is None:
        return check_cells(runs)
    done = list(executor.map(check_cells, [runs]))
    if done and done[0].value is not None:
        return list(done[0].value)
    # a cell may have ended its worker: then it alone has failed, which each by itself shows
    alone = list(executor.map(check_cells, [[run] for run in runs]))
    found = {one.task[0].run_hash: _one_checked(one) for one in alone}
    return [found[run.run_hash] for run in runs]


def _one_checked(done: Any) -> Checked:
    from normbench.training.tasks import Checked
    from normbench.training.work import check_cells

    (run,) = done.task
    if done.value is not None:
        return cast("Checked", done.value[0])
    if packages_in(run.cell):
        return Checked("failed", str(done.error))
    return check_cells([run])[0]  # and what went wrong there is raised here


def _keys(runs: Iterable[RunSpec]) -> dict[str, str]:
    """The key of each cell by its hash; cells that differ in their learning rate share one."""
    found: dict[str, str] = {}
    known: dict[Cell, str] = {}
    for run in runs:
        if run.cell_hash in found:
            continue
        cell = run.cell.model_copy(update={"learning_rate": None})
        if cell not in known:
            known[cell] = cell_key(run.cell)
        found[run.cell_hash] = known[cell]
    return found


def replan(planned: Planned, decisions: Decisions) -> Planned:
    """The plan with the learning rates that have been decided since."""
    if all(series.tune is None for series in planned.study.experiments):
        return planned  # nothing is decided
    runs = expand(planned.study, decisions, planned.code)
    keys = _keys(runs)
    undefined = {cell: planned.reasons[key] for cell, key in keys.items() if key in planned.reasons}
    return replace(planned, runs=runs, undefined=undefined)


def _one_per_cell(runs: Iterable[RunSpec]) -> list[RunSpec]:
    return list({run.cell_hash: run for run in reversed(list(runs))}.values())[::-1]


# -- state ------------------------------------------------------------------------------------


def check_folder(store: Store, study: Study) -> None:
    """Refuse a folder whose results are another protocol's, newer, or withheld by the system.

    Nothing is written. One that names what is not installed here passes: running the protocol
    writes it anew. A damaged one does not: whose results these are would be forgotten.
    """
    if not store.exists:
        return
    read_decisions(store.folder)
    read_registration(store.folder)
    read_looks(store.folder)
    try:
        stored = store.read_study()
    except (NewerResultsError, UnreadableResultsError, DamagedError):
        raise
    except ResultsError:
        return
    if stored.name != study.name:
        raise ResultsError(
            f"{store.folder} holds the results of the protocol {stored.name!r}, not of "
            f"{study.name!r}; give this protocol a folder of its own with --results"
        )


def unplanned_runs(store: Store, planned: Planned) -> Unplanned:
    """What of the stored runs this plan leaves out, with the learning rates decided there."""
    runs = replan(planned, read_decisions(store.folder)).runs
    return count_unplanned(store, planned.study, runs)


@dataclass(frozen=True)
class Standing:
    """What is known before a run changes anything: finished runs, and what is to be said."""

    finished: int | None
    notes: tuple[str, ...]


def before_training(store: Store, planned: Planned, *, replace: bool = False) -> Standing:
    """How the stored results stand to a plan; raises where a run of it must not start.

    See :func:`check_folder`; and unless ``replace``, a protocol that asks for none of the stored
    runs is refused.
    """
    check_folder(store, planned.study)
    left = unplanned_runs(store, planned)
    if not replace:
        refuse_to_lose(store, left)
    return Standing(left.stored, _notes(store, planned, left))


def _notes(store: Store, planned: Planned, left: Unplanned) -> tuple[str, ...]:
    said = (left.sentence(), *upcoming(store.folder, planned.study, planned.basis))
    return tuple(note for note in said if note)


def statuses(store: Store, planned: Planned) -> dict[str, str]:
    """The status of each planned run by its hash, from what is stored."""
    stored = store.read("runs", ["run_hash", "status"]) if store.exists else None
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
    failing_cells: list[dict[str, Any]]
    void_claims: list[str]
    missing_data: list[str]
    estimated_seconds: float | None
    workers: int
    #: Of the cells that wait, how many the estimate rests on, and how many there are.
    timed_cells: int = 0
    waiting_cells: int = 0
    #: Timed cells whose runs are trained one after the other: how many, by the reason.
    run_by_run: dict[str, int] = field(default_factory=dict)
    #: And those of which an engine is left out, though another trains their runs together.
    left_out: dict[str, int] = field(default_factory=dict)
    #: Of the runs that are stored and computed, how many there are and how many this leaves out.
    stored: int | None = 0
    unplanned: int = 0
    notes: list[str] = field(default_factory=list)
    #: Files that the data sets leave out, a line each, and why the data would be refused.
    skipped_data: list[str] = field(default_factory=list)
    changed_data: str = ""


def summarise_plan(
    planned: Planned,
    store: Store,
    only: Sequence[str],
    workers: int,
    device: str,
    *,
    estimate: Estimating = "quick",
) -> PlanSummary:
    """Count what would run, and estimate how long it takes from a few timed steps.

    A ``quick`` estimate takes about :data:`QUICK_SECONDS`, a ``full`` one what it takes.
    """
    check_folder(store, planned.study)
    status = statuses(store, planned)
    chosen = select(planned.runs, only)
    pending = pending_runs(chosen, status)
    experiments = []
    by_experiment: dict[str, Counter[str]] = defaultdict(Counter)
    for run in planned.runs:
        by_experiment[run.experiment][status[run.run_hash]] += 1
    for series in planned.study.experiments:
        own = by_experiment[series.name]
        experiments.append(
            {
                "name": series.name,
                "title": series.title,
                "cells": len(series.cells),
                "seeds": len(series.seeds),
                "runs": own.total(),
                "varies": list(series.varies),
                **own,
            }
        )
    found = None
    if estimate != "none" and not planned.missing_data:
        sound = [run for run in pending if run.cell_hash not in planned.failing]
        found = _estimate(sound, device, QUICK_SECONDS if estimate == "quick" else None)
    left = unplanned_runs(store, planned)
    return PlanSummary(
        name=planned.study.name,
        experiments=experiments,
        cells=len(_one_per_cell(planned.runs)),
        runs=len(planned.runs),
        by_status=dict(Counter(status[run.run_hash] for run in planned.runs)),
        to_run=len(pending),
        undefined_cells=_described(planned, planned.undefined),
        failing_cells=_described(planned, planned.failing),
        void_claims=_void_claims(planned),
        missing_data=planned.missing_data,
        estimated_seconds=found.seconds / max(1, min(workers, len(pending))) if found else None,
        workers=workers,
        timed_cells=found.timed if found else 0,
        waiting_cells=found.cells if found else 0,
        run_by_run=dict(found.alone) if found else {},
        left_out=dict(found.limited) if found else {},
        stored=left.stored,
        unplanned=left.left,
        notes=[*_notes(store, planned, left), *filter(None, [left.warning()])],
        skipped_data=data_notes(planned.contents),
        changed_data=data_changes(store, planned),
    )


def _described(planned: Planned, reasons: Mapping[str, str]) -> list[dict[str, Any]]:
    """The cells that have a reason of these, by hash, with it."""
    return [
        {"experiment": run.experiment, "norm": run.cell.norm.label,
         "batch_size": run.cell.batch_size, "model": run.cell.model.label,
         "reason": reasons[run.cell_hash]}
        for run in _one_per_cell(planned.runs)
        if run.cell_hash in reasons
    ]  # fmt: skip


def _void_claims(planned: Planned) -> list[str]:
    """Hypotheses that rest on an undefined cell: they will get no verdict, and why."""
    if not planned.reasons:
        return []
    found = []
    reasons = {  # of each experiment's cells, in order: many claims ask for the same ones
        series.name: [planned.reasons.get(cell_key(cell)) for cell in series.cells]
        for series in planned.study.experiments
    }
    for claim in planned.study.claims:
        own = reasons[claim.experiment]
        for hypothesis in claim.hypotheses:
            reason = next((own[i] for i in (*hypothesis.a, *hypothesis.b) if own[i]), None)
            if reason is not None:
                found.append(f"{hypothesis.name}: {reason}")
    return found


def _estimate(pending: list[RunSpec], device: str, budget: float | None) -> Forecast:
    from normbench.calibration.forecast import Forecast, forecast

    return forecast(pending, device, budget) if pending else Forecast(0.0, 0, 0)


def pending_runs(runs: Iterable[RunSpec], status: dict[str, str]) -> list[RunSpec]:
    """Runs that are to be computed, each once even if two experiments plan it.

    A run whose learning rate is still to be tuned waits for its decision.
    """
    wanted = {
        run.run_hash: run
        for run in runs
        if status[run.run_hash] in ("missing", "failed") and run.cell.learning_rate is not None
    }
    return list(wanted.values())
