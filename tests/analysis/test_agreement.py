"""One pairing, one endpoint, one row of a result: tables that compare the same agree."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from normbench.analysis.rows import RESULT_COLUMNS
from normbench.analysis.tables import Analysis, analyse
from tests.analysis.made import document, noise, write

LEVEL = {"none": 0.80, "batch": 0.85, "layer": 0.90, "group": 0.893}
SIZE = 8
NUMBERS = ["estimate", "low", "high", "level", "p", "n", "refusal", "warnings", "caveats"]


def accuracy(run: Any) -> list[float]:
    top = LEVEL[run.cell.norm.name] + noise(run)
    return [0.1, top - 0.05, top]


def doc(**header: Any) -> dict[str, Any]:
    sides = {name: {"norm": name, "batch_size": SIZE} for name in ("layer", "group")}
    end = {"kind": "final", "metric": "val_error", "failure_score": 0.9}
    claim = {"id": "c", "kind": "superiority", "a": sides["layer"], "b": sides["group"]}
    made = document(claim=[claim | {"endpoint": end}])
    made["protocol"] |= {"reference": "group", "seeds": 12} | header
    return made


def rows(found: Analysis) -> dict[str, pd.Series]:
    """The comparison of layer norm with group norm in each table that has it."""

    def at(table: str, **where: Any) -> pd.Series:
        frame = found[table]
        for column, value in where.items():
            frame = frame[frame[column] == value]
        assert len(frame) == 1
        return frame.iloc[0]

    return {
        "comparisons": at("comparisons", norm="layer", batch_size=SIZE, endpoint="final"),
        "claims": at("claims", claim="c"),
        "pairs": at("pairs", norm="layer", other="group", batch_size=SIZE),
    }


@pytest.mark.parametrize("window", [1, 2])
def test_the_same_comparison_is_the_same_in_every_table(tmp_path: Path, window: int) -> None:
    made = doc(window=window)
    made["claim"][0]["endpoint"]["window"] = window
    found = analyse(write(tmp_path, made, accuracy))
    final = found["final"].pivot_table(index="seed", columns=["norm", "batch_size"], values="error")
    d = final[("group", SIZE)] - final[("layer", SIZE)]
    for table, row in rows(found).items():
        assert row["estimate"] == pytest.approx(d.mean(), rel=1e-12), table
        for column in NUMBERS:
            assert row[column] == rows(found)["comparisons"][column], (table, column)


def test_a_seed_that_one_run_lacks_is_left_out_in_every_table(tmp_path: Path) -> None:
    def status(run: Any) -> str:
        lost = run.seed == 3 and run.cell.norm.name == "layer" and run.cell.batch_size == SIZE
        return "missing" if lost else "finished"

    found = rows(analyse(write(tmp_path, doc(), accuracy, status=status)))
    for table, row in found.items():
        assert row["n"] == 11, table
        assert row["caveats"] == ("seeds-left-out",), table
        assert row["warnings"] == found["claims"]["warnings"], table


def test_runs_of_two_machines_are_refused_alike_in_every_table(tmp_path: Path) -> None:
    def execution(run: Any) -> str:
        return "other" if run.seed == 5 and run.cell.norm.name == "layer" else "x"

    found = rows(analyse(write(tmp_path, doc(), accuracy, execution=execution)))
    for table, row in found.items():
        assert row["refusal"].startswith("confounded with machine: the runs of seed 5"), table
        assert row["refusal"] == found["claims"]["refusal"], table
        assert np.isnan(row["p"]), table


def test_every_table_of_results_has_the_same_columns(tmp_path: Path) -> None:
    found = analyse(write(tmp_path, doc(), accuracy))
    for table in ("comparisons", "pairs", "claims", "degradation", "crossover"):
        assert set(RESULT_COLUMNS) <= set(found[table].columns), table
