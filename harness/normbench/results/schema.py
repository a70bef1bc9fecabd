"""The tables' columns: their Arrow types, units and meaning, and the version of all this."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, overload

import pyarrow as pa

from normbench.catalog import LIST_AXES, nearest
from normbench.plan.spec import RunSpec
from normbench.protocol.choice import Choice
from normbench.protocol.schema import AXES, Cell

SCHEMA_VERSION = 3

#: How a planned run stands. The first three are results; the last two are to be computed.
STATUSES = ("finished", "diverged", "undefined", "failed", "missing")
#: Statuses that need no further computation.
DONE = ("finished", "diverged")


@dataclass(frozen=True)
class Field:
    """One column: its type, its unit (if it has one) and its meaning."""

    name: str
    type: pa.DataType
    doc: str
    unit: str = ""


_TEXT, _INT, _FLOAT, _BOOL = pa.string(), pa.int64(), pa.float64(), pa.bool_()

_AXIS_TYPES: dict[str, pa.DataType] = {
    "batch_size": _INT,
    "norm_batch_size": _INT,
    "accumulate": _INT,
    "ema": _FLOAT,
    "learning_rate": _FLOAT,
    "epochs": _INT,
    "budget_steps": _INT,
    "budget_samples": _INT,
    "evaluations": _INT,
    "clip_norm": _FLOAT,
    "lr_reference_batch": _INT,
    "evaluations_per_epoch": _INT,
    "train_size": _INT,
    "split_seed": _INT,
    "validation_fraction": _FLOAT,
    "test_fraction": _FLOAT,
    "statistics_samples": _INT,
}
_CHOICES = ("dataset", "model", "norm", "optimizer", "lr_schedule")
_UNITS = {
    "batch_size": "samples",
    "norm_batch_size": "samples",
    "accumulate": "batches",
    "epochs": "epochs",
    "budget_steps": "steps",
    "budget_samples": "samples",
    "train_size": "samples",
}


def _axis_columns() -> list[Field]:
    columns = []
    for axis, info in Cell.model_fields.items():
        doc, unit = info.description or axis.replace("_", " "), _UNITS.get(axis, "")
        columns.append(Field(axis, _AXIS_TYPES.get(axis, _TEXT), doc, unit))
        if axis in _CHOICES:
            columns.append(Field(f"{axis}_params", _TEXT, f"all parameters of {axis}, as JSON"))
    return columns


RUNS: tuple[Field, ...] = (
    Field("experiment", _TEXT, "the experiment that planned the run"),
    Field("run_hash", _TEXT, "content hash of the resolved run; the key of the other tables"),
    Field("cell_hash", _TEXT, "content hash of the cell: equal for all its seeds"),
    Field("execution_hash", _TEXT, "hash of how it was executed (engine, device, threads, …)"),
    Field("phase", _TEXT, "evaluation, or tuning for a run that serves to choose a rate"),
    Field("seed", _INT, "the run's seed"),
    Field("status", _TEXT, "finished, diverged, undefined, failed or missing (not run yet)"),
    Field("error", _TEXT, "why it failed, or why it is undefined"),
    Field("planned", _BOOL, "false for a kept run that the present protocol no longer asks for"),
    *_axis_columns(),
    Field(
        "code",
        _TEXT,
        "the code of the components of other packages that it used, as JSON: distribution, "
        "version and a hash of its modules; empty where all are normbench's own, and in results "
        "of schema 1 and 2, which did not record it",
    ),
    Field(
        "scaled_learning_rate",
        _FLOAT,
        "learning rate at this batch size, after scaling; in units of 1/λ_max where scaled by "
        "curvature",
    ),
    Field("steps", _INT, "training steps taken", "steps"),
    Field(
        "skipped_updates",
        _INT,
        "steps whose update was left out since float16 gradients overflowed, up to the last "
        "evaluation; empty in other precisions",
        "steps",
    ),
    Field("samples", _INT, "training samples seen", "samples"),
    Field("engine", _TEXT, "plain (run by run), or packed or stacked (a group as one computation)"),
    Field(
        "group_size",
        _INT,
        "runs of its group; packed and stacked ones share one computation",
        "runs",
    ),
    Field(
        "seconds",
        _FLOAT,
        "wall-clock time of training, evaluations and probes; together: amortised, the "
        "group's time divided by its runs",
        "s",
    ),
    Field("train_seconds", _FLOAT, "the training's part of it", "s"),
    Field("eval_seconds", _FLOAT, "the evaluations' part of it", "s"),
    Field("probe_seconds", _FLOAT, "the probes' part of it; empty without probes", "s"),
    Field("probe_values", _INT, "rows of the table probes; empty without probes", "rows"),
    Field(
        "peak_memory",
        _FLOAT,
        "most memory that its process or device held; together: the group's; where a process "
        "cannot forget an earlier maximum: since the process's start",
        "MiB",
    ),
    Field("device", _TEXT, "where it was trained"),
    Field(
        "classes",
        _INT,
        "classes of the data set; chance accuracy is one over it; 1 in a regression",
    ),
    Field(
        "label_variance",
        _FLOAT,
        "variance of the training labels, the loss of a regression that ignores its inputs; empty "
        "in a classification",
    ),
    Field("parameters", _INT, "trained parameters", "numbers"),
    Field("buffers", _INT, "buffers, such as running statistics", "numbers"),
)


def _scores(prefix: str, of: str) -> list[Field]:
    return [
        Field(
            f"{prefix}_loss",
            _FLOAT,
            f"mean cross-entropy {of}; in a regression the mean squared error",
            "nat",
        ),
        Field(
            f"{prefix}_accuracy",
            _FLOAT,
            f"share classified correctly {of}; in a regression the share within its tolerance",
        ),
    ]


EPOCHS: tuple[Field, ...] = (
    Field("run_hash", _TEXT, "key of the run in runs"),
    Field("epoch", _FLOAT, "passes over the training split; 0 is before training", "epochs"),
    Field("step", _INT, "training steps taken", "steps"),
    Field("samples", _INT, "training samples seen", "samples"),
    *_scores("train", "over the training batches since the last row, in training mode"),
    *_scores("train_eval", "on up to 1,024 fixed training items, in evaluation mode"),
    *_scores("val", "on the validation split, batch norm with running statistics"),
    *_scores("val_recomputed", "on validation, statistics recomputed on training samples"),
    *_scores("val_batch", "on validation, statistics of each batch"),
    *_scores("test", "on the test split, batch norm with running statistics"),
    *_scores("test_recomputed", "on test, statistics recomputed on training samples"),
    *_scores("test_batch", "on test, statistics of each batch"),
    Field("grad_norm", _FLOAT, "Euclidean norm of the gradient at the last step before the row"),
    Field("update_norm", _FLOAT, "Euclidean norm of the parameters' change in that step"),
    Field("weight_norm", _FLOAT, "Euclidean norm of all parameters"),
    Field("learning_rate", _FLOAT, "learning rate of the last step"),
    Field("train_seconds", _FLOAT, "wall-clock time of training since the last row", "s"),
    Field("eval_seconds", _FLOAT, "wall-clock time of this evaluation", "s"),
)

PREDICTIONS: tuple[Field, ...] = (
    Field("run_hash", _TEXT, "key of the run in runs"),
    Field("evaluation", _TEXT, "statistics used: running, recomputed or batch"),
    Field("correct", pa.list_(_BOOL), "one bit per test item at the last evaluation"),
)

PROBES: tuple[Field, ...] = (
    Field("run_hash", _TEXT, "key of the run in runs"),
    Field("step", _INT, "training steps taken, as in epochs", "steps"),
    Field("epoch", _FLOAT, "passes over the training split, as in epochs", "epochs"),
    Field("probe", _TEXT, "the quantity: a probe of the axis probes gives one or several"),
    Field("layer", _TEXT, "the layer that it belongs to; empty for the whole model"),
    Field("value", _FLOAT, "what was measured, in the quantity's unit"),
)

TABLES: dict[str, tuple[Field, ...]] = {
    "runs": RUNS,
    "epochs": EPOCHS,
    "predictions": PREDICTIONS,
    "probes": PROBES,
}
#: Columns that hold wall-clock time or memory: all others are the same on every repetition.
MEASURED_COLUMNS = frozenset(
    [
        "seconds",
        "train_seconds",
        "eval_seconds",
        "probe_seconds",
        "peak_memory",
        "execution_hash",
        "engine",
        "group_size",
    ]
)
#: Columns of ``runs`` that a result fills in; all others come from the plan.
RESULT_COLUMNS = frozenset(
    {
        "status", "error", "execution_hash", "engine", "group_size", "steps",
        "skipped_updates", "samples",
        "seconds", "train_seconds", "eval_seconds", "probe_seconds", "probe_values",
        "peak_memory", "device", "classes",
        "label_variance", "parameters", "buffers",
    }
)  # fmt: skip


@functools.cache
def arrow_schema(table: str) -> pa.Schema:
    """The Arrow schema of a table, with the schema version in its metadata."""
    fields = [pa.field(c.name, c.type) for c in TABLES[table]]
    return pa.schema(fields, metadata={"normbench_schema": str(SCHEMA_VERSION)})


def to_table(table: str, rows: list[dict[str, Any]]) -> pa.Table:
    """Rows as an Arrow table of the declared types; absent keys become nulls.

    Raises ``KeyError`` for a key that is no column: that is a bug of the caller.
    """
    known = {c.name for c in TABLES[table]}
    for row in rows[:1]:
        for key in row.keys() - known:
            raise KeyError(f"{table} has no column {key!r} (nearest: {nearest(key, known)})")
    return pa.Table.from_pylist(rows, schema=arrow_schema(table))


def axis_values(cell: Cell) -> dict[str, Any]:
    """A cell's axes as table values: components by label, with their parameters as JSON."""
    values: dict[str, Any] = {}
    for axis in AXES:
        value = getattr(cell, axis)
        if isinstance(value, Choice):
            values[axis] = value.label
            values[f"{axis}_params"] = json.dumps(value.params, sort_keys=True)
        elif isinstance(value, tuple):
            between = "+" if axis in LIST_AXES else ","
            values[axis] = between.join(map(str, value)) or None
        else:
            values[axis] = value
    tuned = cell.learning_rate is not None
    values["scaled_learning_rate"] = cell.scaled_learning_rate() if tuned else None
    return values


def code_text(run: RunSpec) -> str | None:
    """The column ``code`` of a run."""
    return json.dumps([code.record() for code in run.code]) if run.code else None


class PlannedRows(Sequence[dict[str, Any]]):
    """One row for every planned run, as ``missing`` or, with the reason, ``undefined``.

    A row is made when it is asked for: a large plan's rows take more memory than the plan.
    """

    def __init__(self, runs: Sequence[RunSpec], undefined: dict[str, str]) -> None:
        self._runs, self._undefined = runs, undefined
        self._axes: dict[str, dict[str, Any]] = {}

    def __len__(self) -> int:
        return len(self._runs)

    def states(self) -> Iterator[tuple[str, str]]:
        """The hash and the status of every row, without making it."""
        for run in self._runs:
            yield run.run_hash, "undefined" if run.cell_hash in self._undefined else "missing"

    @overload
    def __getitem__(self, index: int) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, index: slice) -> PlannedRows: ...
    def __getitem__(self, index: int | slice) -> dict[str, Any] | PlannedRows:
        if isinstance(index, slice):
            return PlannedRows(self._runs[index], self._undefined)
        run = self._runs[index]
        if run.cell_hash not in self._axes:
            self._axes[run.cell_hash] = axis_values(run.cell)
        reason = self._undefined.get(run.cell_hash)
        return {
            "experiment": run.experiment,
            "run_hash": run.run_hash,
            "cell_hash": run.cell_hash,
            "phase": run.phase,
            "seed": run.seed,
            "status": "missing" if reason is None else "undefined",
            "error": reason,
            "planned": True,
            "code": code_text(run),
            **self._axes[run.cell_hash],
        }
