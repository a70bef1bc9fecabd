"""What the tests of results, workflow, analysis and report share: tiny studies and made-up runs."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from normbench.executors.inline import InlineExecutor
from normbench.plan.execution import ExecutionPlan
from normbench.plan.spec import RunSpec
from normbench.protocol.load import parse
from normbench.protocol.study import Study
from normbench.results.schema import MEASURED_COLUMNS, TABLES, axis_values
from normbench.results.store import Store
from normbench.workflow import Planned, Summary, prepare_plan, run_study
from normbench.workflow.grouping import EngineMode

TINY = """\
[protocol]
name = "tiny"
title = "Tiny study"
seeds = 2
thresholds = [0.3]
window = 1
reference = "layer"

[defaults]
dataset = { name = "digits", items = 100 }
model = { name = "mlp", width = 8 }
learning_rate = 0.1
epochs = 1

[[experiment]]
name = "one"
title = "First experiment"
[experiment.product]
norm = ["batch", "layer"]
batch_size = [8, 16]
"""

#: Every planned run of this study gets another fate when it is run.
FATES = """\
[protocol]
name = "fates"
seeds = 2

[defaults]
dataset = { name = "digits", items = 100 }
model = { name = "mlp", width = 8 }
epochs = 1

[[experiment]]
name = "finishes"
norm = "layer"
batch_size = 16
learning_rate = 0.1

[[experiment]]
name = "diverges"
model = { name = "mlp", width = 64 }
norm = "none"
batch_size = 8
learning_rate = 1e6

[[experiment]]
name = "undefined"
norm = "batch"
batch_size = 1
learning_rate = 0.1
"""


def edit(path: Path, **changes: Any) -> None:
    """Change a stored JSON file as a user may: with its checksum taken out."""
    content = json.loads(path.read_text(encoding="utf-8")) | changes
    content.pop("checksum", None)
    path.write_text(json.dumps(content), encoding="utf-8")


def study_of(text: str) -> Study:
    """A study from the text of a protocol."""
    return parse(tomllib.loads(text), "test.toml", "test")


class Watcher:
    """An observer that keeps what it is told."""

    def __init__(self) -> None:
        self.total, self.done, self.workers = -1, -1, -1
        self.rows: list[dict[str, Any]] = []
        self.shares: list[float] = []

    def started(self, total: int, done: int, workers: int) -> None:
        self.total, self.done, self.workers = total, done, workers

    def progressed(self, share: float) -> None:
        self.shares.append(share)

    def finished(self, rows: list[dict[str, Any]]) -> None:
        self.rows += rows


def sweep(
    text: str,
    folder: Path,
    *,
    observer: Watcher | None = None,
    executor: Any = None,
    only: Sequence[str] = (),
    engine: EngineMode = "plain",
    follow: ExecutionPlan | None = None,
    recompute: bool = False,
) -> Summary:
    """Run a protocol in this process, by the plain loop unless ``engine`` says otherwise."""
    from normbench.training.work import leave_worker, set_up_worker

    set_up_worker()
    try:
        return run_study(
            prepare_plan(study_of(text)),
            text,
            folder,
            executor if executor is not None else InlineExecutor(),
            observer if observer is not None else Watcher(),
            device="cpu",
            workers=0,
            only=only,
            engine=engine,
            follow=follow,
            recompute=recompute,
        )
    finally:
        leave_worker()


def tables(folder: Path) -> dict[str, pa.Table]:
    """The tables as they lie in the folder, parts left aside; that of probes may be absent."""
    there = [n for n in TABLES if n != "probes" or (folder / f"{n}.parquet").exists()]
    return {name: pq.read_table(folder / f"{name}.parquet") for name in there}


def bits(column: pa.ChunkedArray) -> list[Any]:
    """A column's values such that equal lists mean equal bits (NaN and -0.0 included)."""
    if pa.types.is_floating(column.type):
        missing = column.is_null().to_pylist()
        words = column.fill_null(0.0).to_numpy().view(np.uint64).tolist()
        return [None if gone else word for gone, word in zip(missing, words, strict=True)]
    values: list[Any] = column.to_pylist()
    return values


def differences(one: Path, other: Path) -> list[str]:
    """Where the stored tables of two folders differ, measured columns aside."""
    found = []
    ours, theirs = tables(one), tables(other)
    if ours.keys() != theirs.keys():
        return [f"tables {', '.join(ours)} and {', '.join(theirs)}"]
    for name, left in ours.items():
        right = theirs[name]
        if left.schema != right.schema or left.num_rows != right.num_rows:
            found.append(f"{name}: {left.num_rows} and {right.num_rows} rows")
            continue
        found += [
            f"{name}.{column}"
            for column in left.column_names
            if column not in MEASURED_COLUMNS and bits(left[column]) != bits(right[column])
        ]
    return found


def status_counts(folder: Path, **where: Any) -> dict[str, int]:
    """How many stored rows have each status, of those with the given values."""
    rows = [
        row
        for row in Store(folder).read("runs").to_pylist()
        if all(row[key] == value for key, value in where.items())
    ]
    return {s: sum(r["status"] == s for r in rows) for s in {r["status"] for r in rows}}


# -- made-up runs: no training -----------------------------------------------------------------

#: From a run to its status and its validation accuracies (or losses), evaluation by evaluation.
Curve = Callable[[RunSpec], tuple[str, Sequence[float]] | None]


def made_up_rows(run: RunSpec, status: str, values: Sequence[float]) -> dict[str, Any]:
    """The rows of one run whose validation accuracy and loss both are ``values``.

    Where the cell has probes, they measured twice that, of the whole model and of one layer.
    """
    steps = 10
    ran = status in ("finished", "diverged")
    key = {"run_hash": run.run_hash}
    runs = {
        "experiment": run.experiment, "cell_hash": run.cell_hash, "seed": run.seed,
        "phase": run.phase,
        "planned": True, **axis_values(run.cell), **key, "status": status,
        "error": None if ran else "made up", "steps": steps * (len(values) - 1),
        "classes": 10, "device": "cpu", "seconds": 1.0, "parameters": 5, "buffers": 0,
    }  # fmt: skip
    share = 1.0 / run.cell.evaluations_per_epoch
    epochs = [
        {
            **key, "epoch": share * i, "step": steps * i, "samples": 80 * i,
            "val_accuracy": float(value), "val_loss": float(value),
        }
        for i, value in enumerate(values)
    ]  # fmt: skip
    probes = [
        {**key, "epoch": row["epoch"], "step": row["step"], "probe": "weight-norm",
         "layer": layer, "value": 2.0 * row["val_accuracy"]}
        for row in epochs for layer in ("", "fc1") if run.cell.probes and ran
    ]  # fmt: skip
    runs |= {"probe_seconds": 0.25, "probe_values": len(probes)} if run.cell.probes else {}
    bit = {"evaluation": "running", "correct": [True, False]}
    predictions = [{**key, **bit}] if status == "finished" or len(values) > 1 else []
    return {
        "runs": [runs],
        "epochs": epochs if ran else [],
        "predictions": predictions,
        "probes": probes,
    }


def plan_of(text: str, undefined: dict[str, str] | None = None) -> Planned:
    """A plan without any check of the cells."""
    from normbench.plan.expand import expand

    study = study_of(text)
    return Planned(study, expand(study), undefined or {}, [])


def made_up(folder: Path, text: str, curve: Curve) -> Store:
    """A results folder whose runs follow ``curve``; runs for which it gives None are missing."""
    planned = plan_of(text)
    store = Store(folder)
    store.write_study(planned.study, text)
    done: dict[str, None] = {}
    for run in planned.runs:
        found = curve(run)
        if found is not None and run.run_hash not in done:
            rows = made_up_rows(run, *found)
            store.write_group(f"{len(done):06d}", rows)
            done[run.run_hash] = None
    store.consolidate(planned.rows)
    return store
