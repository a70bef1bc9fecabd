"""Results made without training: every run's curve is what a function says."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from normbench.analysis.claims import claim_table
from normbench.plan.decisions import Decisions
from normbench.plan.expand import expand
from normbench.plan.spec import RunSpec
from normbench.protocol.load import parse
from normbench.report.told import with_sentences
from normbench.results.load import Results
from normbench.results.registration import register_claims
from normbench.results.schema import SCHEMA_VERSION, PlannedRows, to_table
from normbench.results.tables import write_file

Curve = Callable[[RunSpec], Any]


def document(**changes: Any) -> dict[str, Any]:
    """A protocol with four norms at three batch sizes, ten seeds and two epochs."""
    base: dict[str, Any] = {
        "protocol": {"name": "made", "seeds": 10, "window": 1},
        "defaults": {"dataset": "digits", "model": "mlp", "learning_rate": 0.1, "epochs": 2},
        "experiment": [
            {
                "name": "one",
                "product": {
                    "norm": ["none", "batch", "layer", "group"],
                    "batch_size": [2, 8, 32],
                },
            }
        ],
    }
    return base | changes


def noise(run: RunSpec, scale: float = 0.01) -> float:
    """Noise of a run that depends on its content alone: the same at every call."""
    rng = np.random.default_rng(int(run.run_hash, 16) % 2**32)
    return float(scale * rng.standard_normal())


def write(
    folder: Path,
    doc: dict[str, Any],
    accuracy: Curve,
    *,
    status: Callable[[RunSpec], str] = lambda run: "finished",
    decisions: Decisions | None = None,
    execution: Callable[[RunSpec], str] = lambda run: "x",
    register: bool = True,
    probe: Callable[[RunSpec], Mapping[tuple[str, str], Sequence[float]]] = lambda run: {},
) -> Results:
    """Write results in which ``accuracy(run)`` is a number (reached at once) or a curve.

    ``probe`` gives the values of quantities by name and layer, from the first evaluation on or,
    if there are fewer, at the last ones; a diverged run was not probed at its last evaluation.
    ``status`` may give ``diverged`` (NaN from the last evaluation on), ``missing``, … per run.
    """
    study = parse(doc, "made.toml", "made")
    runs = expand(study, decisions)
    folder.mkdir(parents=True, exist_ok=True)
    content = {"schema_version": SCHEMA_VERSION, "study": study.model_dump(mode="json"), "code": []}
    (folder / "protocol.json").write_text(json.dumps(content))
    if register:
        there = folder / "runs.parquet"
        finished = pq.read_metadata(there).num_rows if there.exists() else 0
        register_claims(folder, study, finished)
    rows = list(PlannedRows(runs, {}))
    epochs, predictions, probes = [], [], []
    for row, run in zip(rows, runs, strict=True):
        state = status(run)
        if state not in ("finished", "diverged"):
            row |= {"status": state, "error": "no meaning" if state == "undefined" else None}
            continue
        row |= {"status": state, "execution_hash": execution(run), "classes": 10}
        value = accuracy(run)
        curve = [0.1, *([value] * run.cell.epochs)] if np.isscalar(value) else list(value)
        if state == "diverged":
            curve[-1] = float("nan")
        for x, level in enumerate(curve):
            entry = {"run_hash": run.run_hash, "epoch": float(x), "step": 10 * x}
            epochs.append(entry | {"val_accuracy": level, "val_loss": 1 - level})
        last = len(curve) - (state == "diverged")
        own = []
        for (name, layer), measured in probe(run).items():
            for x, value_there in list(zip(range(len(curve))[::-1], measured[::-1], strict=False)):
                if x < last:
                    place = {"run_hash": run.run_hash, "step": 10 * x, "epoch": float(x)}
                    own.append(place | {"probe": name, "layer": layer, "value": value_there})
        probes += own
        if run.cell.probes:
            row |= {"probe_values": len(own), "probe_seconds": 0.5, "seconds": 2.0}
        bits = np.random.default_rng(run.seed).random(50) < 0.5
        bit_row = {"run_hash": run.run_hash, "evaluation": "running", "correct": bits.tolist()}
        predictions.append(bit_row)
    found = {"runs": rows, "epochs": epochs, "predictions": predictions}
    found |= {"probes": probes} if probes else {}
    for table, content_rows in found.items():
        content = to_table(table, content_rows)
        write_file(folder / f"{table}.parquet", content.schema, [content])
    return Results(folder)


def told(results: Results) -> pd.DataFrame:
    """The table of claims with their sentences."""
    return with_sentences(claim_table(results), results.study)
