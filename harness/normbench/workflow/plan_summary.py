"""What `normbench plan` tells: what would run, what would not, and how long it takes."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from normbench.plan.decisions import cell_key
from normbench.plan.expand import select
from normbench.plan.spec import RunSpec
from normbench.results.store import Store
from normbench.workflow.data import data_changes, data_notes

if TYPE_CHECKING:
    from normbench.calibration.forecast import Forecast
from normbench.workflow.plan import Planned, one_per_cell, pending_runs, statuses
from normbench.workflow.standing import check_folder, notes_on, unplanned_runs

Estimating = Literal["quick", "full", "none"]
#: Seconds that a quick estimate takes, but for the cell it is at.
QUICK_SECONDS = 5.0


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
        cells=len(one_per_cell(planned.runs)),
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
        notes=[*notes_on(store, planned, left), *filter(None, [left.warning()])],
        skipped_data=data_notes(planned.contents),
        changed_data=data_changes(store, planned),
    )


def _described(planned: Planned, reasons: Mapping[str, str]) -> list[dict[str, Any]]:
    """The cells that have a reason of these, by hash, with it."""
    return [
        {"experiment": run.experiment, "norm": run.cell.norm.label,
         "batch_size": run.cell.batch_size, "model": run.cell.model.label,
         "reason": reasons[run.cell_hash]}
        for run in one_per_cell(planned.runs)
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
