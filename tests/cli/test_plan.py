"""``normbench plan``: what would run, counted and timed, without running it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from normbench.cli.plan import duration
from tests.support import FATES, TINY

TWO = TINY + '[[experiment]]\nname = "two"\nnorm = "layer"\nbatch_size = 8\n'


def as_json(cli, *arguments):
    said = cli("plan", *arguments, "--json")
    assert said.status == 0, said.err
    return json.loads(said.out)


def test_json_counts_cells_and_runs(cli, tiny):
    found = as_json(cli, tiny, "--workers", "3")
    assert (found["name"], found["cells"], found["runs"], found["to_run"]) == ("tiny", 4, 8, 8)
    assert found["by_status"] == {"missing": 8}
    assert found["workers"] == 3
    assert found["estimated_seconds"] > 0
    (one,) = found["experiments"]
    assert {k: one[k] for k in ("name", "title", "cells", "seeds", "runs", "missing")} == {
        "name": "one", "title": "First experiment", "cells": 4, "seeds": 2, "runs": 8, "missing": 8
    }  # fmt: skip
    assert set(one["varies"]) == {"norm", "batch_size"}
    assert found["undefined_cells"] == found["missing_data"] == []


def test_planning_leaves_no_trace(cli, tiny, tmp_path):
    cli("plan", tiny)
    assert {p.name for p in tmp_path.iterdir()} == {"tiny.toml"}


def test_done_runs_are_not_planned_again(cli, tiny):
    cli("run", tiny, "--workers", "0", "--only", "norm=batch")
    found = as_json(cli, tiny, "--no-estimate")
    assert (found["to_run"], found["by_status"]) == (4, {"finished": 4, "missing": 4})
    assert found["estimated_seconds"] is None
    assert as_json(cli, tiny, "--only", "norm=batch")["to_run"] == 0
    assert as_json(cli, tiny, "--only", "norm=batch")["estimated_seconds"] == 0
    assert as_json(cli, tiny, "--seeds", "3")["to_run"] == 2 + 6
    assert as_json(cli, tiny, "--set", "epochs=2")["to_run"] == 8


def test_a_run_of_two_experiments_is_counted_once_where_it_is_computed(cli, tmp_path):
    (tmp_path / "two.toml").write_text(TWO, encoding="utf-8")
    found = as_json(cli, "two.toml", "--no-estimate")
    assert (found["cells"], found["runs"], found["to_run"]) == (4, 10, 8)


def test_undefined_cells_are_named_with_their_reason(cli, tmp_path):
    (tmp_path / "fates.toml").write_text(FATES, encoding="utf-8")
    (cell,) = as_json(cli, "fates.toml", "--no-estimate")["undefined_cells"]
    assert (cell["experiment"], cell["norm"], cell["batch_size"]) == ("undefined", "batch", 1)
    assert "batch size 1" in cell["reason"]
    said = cli("plan", "fates.toml", "--no-estimate")
    assert f"undefined: undefined, batch, batch size 1: {cell['reason']}" in said.out


def test_the_table_tells_the_same(cli, tiny):
    cli("run", tiny, "--workers", "0", "--only", "norm=batch")
    said = cli("plan", tiny)
    assert said.status == 0
    (row,) = [line for line in said.out.splitlines() if "norm × batch_size" in line]
    assert [cell.strip() for cell in row.strip("│ \n").split("│")] == [
        "one", "norm × batch_size", "4", "2", "8", "4", "0", "4"
    ]  # fmt: skip
    assert "4 cells, 8 runs; 4 to run" in said.out
    assert "about " in said.out


def test_an_estimate_says_on_how_many_cells_it_rests(cli, tiny, monkeypatch):
    monkeypatch.setattr("normbench.workflow.plan_summary.QUICK_SECONDS", 0.0)
    found = as_json(cli, tiny)
    assert (found["timed_cells"], found["waiting_cells"]) == (1, 4)
    assert found["estimated_seconds"] > 0
    said = " ".join(cli("plan", tiny).out.split())
    assert "; 1 of 4 cells were timed" in said
    assert "--estimate full" in said
    said = " ".join(cli("plan", tiny, "--estimate", "full").out.split())
    assert "; all 4 cells were timed" in said
    for none in (["--estimate", "none"], ["--no-estimate"]):
        assert "about" not in cli("plan", tiny, *none).out
    assert "about 0 s on" in cli("plan", tiny, "--only", "seed=0", "--estimate", "quick").out


def test_many_undefined_cells_are_counted_and_not_all_listed(cli, tmp_path):
    text = TINY.replace("[8, 16]", "[1]").replace("learning_rate = 0.1\n", "")
    rates = ", ".join(f"0.{i}" for i in range(1, 10))
    text += f"learning_rate = [{rates}]\nsplit_seed = [{', '.join(map(str, range(30)))}]\n"
    more = "".join(
        f'[[experiment]]\nname = "e{i}"\nnorm = "batch"\nbatch_size = 1\nlearning_rate = 0.1\n'
        f"split_seed = {100 + i}\n"
        for i in range(30)
    )
    (tmp_path / "many.toml").write_text(text + more, encoding="utf-8")
    said = cli("plan", "many.toml", "--no-estimate")
    assert said.status == 0, said.err
    lines = [line for line in said.out.splitlines() if line.startswith("undefined: ")]
    assert len(lines) == 20
    assert "(×270)" in said.out
    assert "… and 11 more such lines: --json lists all" in said.out
    assert len(as_json(cli, "many.toml", "--no-estimate")["undefined_cells"]) == 300


def test_a_damaged_result_is_told(cli, tiny):
    cli("run", tiny, "--workers", "0", "--only", "norm=batch")
    Path("results/tiny/runs.parquet").write_bytes(b"PAR1 cut")
    said = cli("plan", tiny)
    assert said.status == 2
    assert "runs.parquet is damaged" in said.err


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (89.0, "89 s"), (90.0, "2 min"), (5399.0, "90 min"), (5400.0, "1.5 h")],
)
def test_durations_are_said_as_people_do(seconds, text):
    assert duration(seconds) == text


def test_claims_on_undefined_cells_are_void_at_planning(cli, tmp_path):
    text = """
[protocol]
name = "void"
seeds = 6
[defaults]
dataset = { name = "digits", items = 100 }
model = { name = "mlp", width = 8 }
learning_rate = 0.1
epochs = 1
[[experiment]]
name = "one"
[experiment.product]
norm = ["batch", "layer"]
batch_size = [1, 8]
[[claim]]
id = "c"
kind = "superiority"
a = "layer"
b = "batch"
endpoint = { failure_score = 0.9 }
"""
    (tmp_path / "void.toml").write_text(text)
    done = cli("plan", "void.toml", "--json", "--no-estimate")
    content = json.loads(done.out)
    assert [v.split(":")[0] for v in content["void_claims"]] == ["c@1"]
    assert "void claim c@1: at site fc1" in " ".join(cli("plan", "void.toml").out.split())
