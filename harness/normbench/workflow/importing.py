"""Runs of another trainer, from a table of theirs into result tables of ours."""

from __future__ import annotations

import hashlib
import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from normbench.errors import UsageError
from normbench.plan.expand import expand
from normbench.plan.spec import RunSpec
from normbench.protocol.choice import Stored
from normbench.protocol.load import parse
from normbench.protocol.names import folder_name
from normbench.protocol.reading import read_text
from normbench.protocol.study import Study
from normbench.results import provenance
from normbench.results.registration import register_claims
from normbench.results.schema import PlannedRows, axis_values
from normbench.results.store import Store
from normbench.workflow.imported_table import Curve, Written, curves_in
from normbench.workflow.run import locked

#: How networks, data and what else is not known are called.
UNKNOWN = "imported"


@dataclass(frozen=True)
class Imported:
    """What was imported: the results folder, and how many runs of how many configurations."""

    folder: Path
    runs: int
    cells: int
    diverged: int
    missing: int


@dataclass(frozen=True)
class RunsFile:
    """What the command line says of a file of runs.

    ``classes`` are those of the data, which chance follows from; ``thresholds`` accuracies (or
    losses) whose first crossing is timed; ``claims`` a TOML file of ``[[claim]]`` tables.
    """

    file: Path
    classes: int
    given: Written = field(default_factory=Written)
    title: str = ""
    window: int | None = None
    thresholds: Sequence[float] = ()
    claims: Path | None = None


def import_runs(wanted: RunsFile, folder: Path) -> Imported:
    """Read a file of runs and write a results folder as if they had been trained here.

    Raises :class:`UsageError` for a folder that is there, and for a file that does not say what
    each run is: all that is wrong with it, with the rows.
    """
    if folder.exists() and any(folder.iterdir()):
        raise UsageError(f"{folder} is there already; likely fix: another folder with --output")
    content = _bytes(wanted.file)
    curves = curves_in(wanted.file, content, wanted.given)
    study, source = _study(wanted, curves, folder)
    runs = expand(study)
    rows, states = _rows(runs, curves, wanted.classes)
    store = Store(folder)
    with locked(folder):
        store.hold()
        finished = sum(state in ("finished", "diverged") for state in states)
        register_claims(folder, study, finished)
        store.write_study(study, source)
        provenance.record_invocation(
            folder,
            {
                "started": provenance.now(),
                "command": provenance.command_line(),
                "imported": {
                    "file": wanted.file.name,
                    "sha256": hashlib.sha256(content).hexdigest(),
                    "rows": sum(len(curve.epochs) for curve in curves.values()),
                },
                "ended": provenance.now(),
                **provenance.environment(),
            },
        )
        store.write_group("000000", rows)
        store.consolidate(PlannedRows(runs, {}))
    cells = {run.cell_hash for run in runs}
    return Imported(folder, finished, len(cells), states.count("diverged"), states.count("missing"))


def _bytes(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read {file}: {error.strerror}") from None


def _study(
    wanted: RunsFile, curves: Mapping[tuple[str, int, int], Curve], folder: Path
) -> tuple[Study, str]:
    """The protocol that these runs would have had, and its text: their claims, or nothing."""
    text = "" if wanted.claims is None else read_text(wanted.claims)
    try:
        declared = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{wanted.claims} is no TOML: {error}") from None
    if set(declared) - {"claim", "family"}:
        other = ", ".join(sorted(set(declared) - {"claim", "family"}))
        raise UsageError(
            f"{wanted.claims} holds [[claim]] and [[family]] tables alone; received {other}"
        )
    cells = list(dict.fromkeys((norm, size) for norm, size, _ in curves))
    first = next(iter(curves.values()))
    last = max(curve.epochs[-1] for curve in curves.values())
    accuracy = "val_accuracy" in first.metrics
    header: dict[str, Any] = {
        "name": folder_name(folder.name),
        "title": wanted.title or f"Imported from {wanted.file.name}",
        "seeds": sorted({seed for _, _, seed in curves}),
        "metric": "accuracy" if accuracy else "loss",
        "thresholds": list(wanted.thresholds),
    }
    if "none" not in {norm for norm, _ in cells} and "layer" in {norm for norm, _ in cells}:
        header["reference"] = "layer"  # as in protocols: batch norm is what is in question
    if wanted.window is not None:
        header["window"] = wanted.window
    document = {
        "protocol": header,
        "defaults": {
            "dataset": UNKNOWN, "model": UNKNOWN, "epochs": int(last), "learning_rate": 1.0,
        },
        "experiment": [
            {
                "name": UNKNOWN,
                "title": header["title"],
                "zip": {"norm": [n for n, _ in cells], "batch_size": [b for _, b in cells]},
            }
        ],
        **declared,
    }  # fmt: skip
    study = parse(document, str(wanted.claims or wanted.file), header["name"], context=_ABSENT)
    return _without_rates(study), text


_ABSENT = Stored(dict)


def _without_rates(study: Study) -> Study:
    """The study without learning rates: they are not known, and may differ."""
    experiments = []
    for series in study.experiments:
        cells = tuple(c.model_copy(update={"learning_rate": None}) for c in series.cells)
        experiments.append(series.model_copy(update={"cells": cells}))
    return study.model_copy(update={"experiments": tuple(experiments)})


def _rows(
    runs: Sequence[RunSpec], curves: Mapping[tuple[str, int, int], Curve], classes: int
) -> tuple[dict[str, list[dict[str, Any]]], list[str]]:
    rows: dict[str, list[dict[str, Any]]] = {"runs": [], "epochs": [], "predictions": []}
    states = []
    for run in runs:
        curve = curves.get((run.cell.norm.label, run.cell.batch_size, run.seed))
        if curve is None:
            states.append("missing")
            continue
        states.append(curve.status)
        key = {"run_hash": run.run_hash}
        rows["runs"].append(
            {
                "experiment": run.experiment, "cell_hash": run.cell_hash, "seed": run.seed,
                "phase": run.phase, "planned": True, **axis_values(run.cell), **key,
                "status": curve.status, "classes": classes, "engine": UNKNOWN,
            }
        )  # fmt: skip
        # a run without a row counts as lost; of its items nothing is known
        rows["predictions"].append({**key, "evaluation": "running", "correct": []})
        for place, epoch in enumerate(curve.epochs):
            values = {
                name: None if math.isnan(column[place]) else column[place]
                for name, column in curve.metrics.items()
            }
            rows["epochs"].append({**key, "epoch": float(epoch), **values})
    return rows, states
