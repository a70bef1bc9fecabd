"""The evaluation before training is in no number of any table but the curves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from normbench.analysis.tables import analyse
from normbench.plan.spec import RunSpec
from tests.analysis.made import document, noise, write

CLAIMS = [
    {"id": kind, "kind": "superiority", "a": "layer", "b": "batch",
     "endpoint": {"kind": kind, "failure_score": 0.9}}
    for kind in ("final", "best", "aulc")
]  # fmt: skip


def tables(folder: Path, start: float) -> dict[str, pd.DataFrame]:
    doc = document(claim=CLAIMS)
    doc["protocol"] |= {"thresholds": [0.65]}
    del doc["protocol"]["window"]
    doc["experiment"][0]["tune"] = {"learning_rate": [0.1, 0.2], "seeds": 2}
    del doc["defaults"]["learning_rate"]

    def curve(run: RunSpec) -> list[float]:
        end = {"layer": 0.9}.get(run.cell.norm.name, 0.8) + noise(run)
        return [start, 0.7 + noise(run), end]

    return analyse(write(folder, doc, curve)).tables


def test_no_table_depends_on_the_untrained_error(tmp_path: Path) -> None:
    low, high = tables(tmp_path / "low", 0.1), tables(tmp_path / "high", 0.6)
    # times interpolate from it, and the curves show it
    apart = {"curves", "times", "run_times", "profile", "comparisons", "input_norm"}
    for name in set(low) - apart:
        pd.testing.assert_frame_equal(low[name], high[name], obj=name)
    final = [t["comparisons"][t["comparisons"]["endpoint"] == "final"] for t in (low, high)]
    pd.testing.assert_frame_equal(*final)
    assert not low["tuning"].empty
    assert low["final"]["error"].max() < 0.35
    thresholds = [t["profile"]["threshold"].to_numpy(dtype=float) for t in (low, high)]
    np.testing.assert_array_equal(*thresholds)
