"""``normbench status``: how the planned runs stand, for people and for machines."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from normbench.results.schema import STATUSES
from tests.support import TINY, made_up


def half(run):
    fates = {("batch", 0): "diverged", ("batch", 1): "failed", ("layer", 0): "finished"}
    fate = fates.get((run.cell.norm.name, run.seed))
    return (fate, [0.1, 0.2] if fate != "failed" else [0.1]) if fate else None


def test_json_has_a_row_per_experiment_and_status(cli, tmp_path):
    made_up(tmp_path / "results" / "tiny", TINY, half)
    said = cli("status", "--json")
    assert said.status == 0
    counts = {row["status"]: row["runs"] for row in json.loads(said.out)}
    assert counts == {"diverged": 2, "failed": 2, "finished": 2, "missing": 2}
    assert {(r["results"], r["experiment"]) for r in json.loads(said.out)} == {("tiny", "one")}


def test_the_table_has_a_column_per_status(cli, tmp_path):
    made_up(tmp_path / "results" / "tiny", TINY, half)
    made_up(tmp_path / "results" / "other [x]", TINY, lambda run: None)
    said = cli("status")
    rows = [line.strip("│ \n").split("│") for line in said.out.splitlines() if "│" in line]
    assert [[cell.strip() for cell in row] for row in rows] == [
        ["other [x]", "one", "0", "0", "0", "0", "8"],
        ["tiny", "one", "2", "2", "0", "2", "2"],
    ]
    assert all(status in said.out for status in STATUSES)
    only = cli("status", "results/tiny")
    assert "other" not in only.out
    assert "tiny" in only.out


@pytest.mark.parametrize("place", ["results", "nowhere", "tiny.toml"])
def test_no_results_are_told(cli, tiny, place):
    said = cli("status", place)
    assert said.status == 2
    assert "there are no results under" in said.err


def test_damaged_results_are_told_without_a_traceback(cli, tmp_path):
    folder = made_up(tmp_path / "results" / "tiny", TINY, half).folder
    (folder / "runs.parquet").write_bytes((folder / "runs.parquet").read_bytes()[:100])
    said = cli("status")
    assert said.status == 2
    assert "runs.parquet is damaged" in said.err
    assert "Traceback" not in said.err


def test_a_folder_whose_runs_were_never_planned_is_no_crash(cli, tmp_path):
    folder = made_up(tmp_path / "results" / "tiny", TINY, half).folder
    for path in folder.glob("*.parquet"):
        path.unlink()
    assert cli("status").status == 0
    assert Path("results/tiny/protocol.json").exists()
