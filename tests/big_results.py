"""A generator of large results: as many cells, seeds and epochs as wanted, without training."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa

from normbench.plan.expand import expand
from normbench.protocol.load import parse
from normbench.protocol.study import Study
from normbench.results.registration import register_claims
from normbench.results.schema import SCHEMA_VERSION, PlannedRows, arrow_schema, to_table
from normbench.results.tables import write_file


def _write(folder: Path, name: str, table: pa.Table) -> None:
    write_file(folder / f"{name}.parquet", table.schema, [table])


def protocol(cells: int, seeds: int, epochs: int) -> dict:
    """A protocol with five norms and ``cells / 5`` batch sizes, and some claims."""
    sizes = list(range(2, 2 + cells // 5))
    end = {"kind": "final", "failure_score": 0.9}
    time = {"kind": "time", "metric": "val_accuracy", "threshold": "pooled"}
    return {
        "protocol": {"name": "big", "seeds": seeds, "thresholds": [0.8, 0.9], "reference": "layer"},
        "defaults": {"dataset": "digits", "model": "mlp", "learning_rate": 0.1, "epochs": epochs},
        "experiment": [
            {
                "name": "one",
                "product": {
                    "norm": ["none", "batch", "layer", "group", {"name": "group", "groups": 4}],
                    "batch_size": sizes,
                },
            }
        ],
        "claim": [
            {"id": "c1", "kind": "interaction", "a": "layer", "b": "batch", "endpoint": end},
            {"id": "c2", "kind": "superiority", "a": "layer", "b": "none", "endpoint": time},
        ],
    }


def write(folder: Path, cells: int, seeds: int, epochs: int) -> int:
    """Write results of ``cells`` × ``seeds`` runs of ``epochs`` evaluations; returns the rows."""
    return fill(folder, parse(protocol(cells, seeds, epochs), "big.toml", "big"), epochs)


def fill(folder: Path, study: Study, epochs: int) -> int:
    """Write results of a study whose runs all last ``epochs``; returns the rows."""
    runs = expand(study)
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True)
    content = {"schema_version": SCHEMA_VERSION, "study": study.model_dump(mode="json"), "code": []}
    (folder / "protocol.json").write_text(json.dumps(content))
    register_claims(folder, study)
    rows = list(PlannedRows(runs, {}))
    for row in rows:
        row |= {"status": "finished", "execution_hash": "x", "classes": 10, "steps": epochs * 100}
    _write(folder, "runs", to_table("runs", rows))
    runs = list({run.run_hash: run for run in runs}.values())  # experiments may share runs
    n, length = len(runs), epochs + 1
    x = np.tile(np.arange(length), n)
    quality = {"none": 0.86, "batch": 0.9, "layer": 0.92, "group": 0.91, "instance": 0.9}
    top = np.array(
        [quality.get(r.cell.norm.name, 0.88) + 0.01 * rng.standard_normal() for r in runs]
    )
    speed = 20 * np.exp(0.3 * rng.standard_normal(n))
    curve = np.repeat(top, length) * (1 - np.exp(-x / np.repeat(speed, length)))
    curve = np.clip(curve + 0.005 * rng.standard_normal(len(x)), 0, 1)
    columns = {
        "run_hash": np.repeat([r.run_hash for r in runs], length),
        "epoch": x.astype(float), "step": x * 100, "samples": x * 800,
    }  # fmt: skip
    schema = arrow_schema("epochs")
    table = {}
    for field in schema:
        if field.name in columns:
            table[field.name] = pa.array(columns[field.name], field.type)
        elif field.name.endswith("accuracy"):
            table[field.name] = pa.array(curve)
        else:
            table[field.name] = pa.array(1 - curve)
    _write(folder, "epochs", pa.table(table, schema=schema))
    bits = [
        {"run_hash": r.run_hash, "evaluation": "running", "correct": b.tolist()}
        for r, b in zip(runs, rng.random((n, 300)) < 0.9, strict=True)
    ]
    _write(folder, "predictions", to_table("predictions", bits))
    return len(x)
