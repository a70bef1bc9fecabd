"""Planning: what a protocol asks for, checked against this machine, and how it stands."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from normbench.catalog.fingerprints import Fingerprints
from normbench.datasets.content import Content
from normbench.errors import (
    Fault,
    ProtocolError,
)
from normbench.executors.base import Executor
from normbench.plan.code import fingerprints_of, targets
from normbench.plan.decisions import Decisions, cell_key
from normbench.plan.expand import expand
from normbench.plan.spec import RunSpec
from normbench.protocol.declared import code_key, data_key
from normbench.protocol.schema import Cell
from normbench.protocol.study import Study
from normbench.results.schema import PlannedRows
from normbench.results.store import Store
from normbench.workflow.checking import check_runs

if TYPE_CHECKING:
    pass


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
    #: What people should know of networks of their own, a line each.
    warnings: tuple[str, ...] = ()

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
        return any(True for run in one_per_cell(self.runs) for _ in targets(run.cell))

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
    warnings: dict[str, None] = {}
    # the learning rate decides no shape: a cell is checked once for all its rates
    keys = _keys(runs)
    different = list({keys[run.cell_hash]: run for run in one_per_cell(runs)}.values())
    for run, found in zip(different, check_runs(different, executor), strict=True):
        contents |= found.content
        for warning in found.warnings:
            warnings[f"warning: {run.cell.model.label}: {warning}"] = None
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
    return Planned(
        study, runs, undefined, list(missing), reasons, contents, code, failing, tuple(warnings)
    )


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


def one_per_cell(runs: Iterable[RunSpec]) -> list[RunSpec]:
    """The first run of each cell, in order."""
    return list({run.cell_hash: run for run in reversed(list(runs))}.values())[::-1]


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
