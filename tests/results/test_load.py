"""Loading: frames of what is planned, whatever became of it."""

from __future__ import annotations

import json

import pandas as pd
import pytest

import normbench
from normbench.errors import ResultsError
from normbench.results.schema import TABLES
from tests.support import TINY, made_up, plan_of


def steady(run):
    return "finished", [0.1, 0.2 + 0.1 * run.seed]


def test_frames_have_the_declared_columns(tmp_path):
    found = normbench.load(made_up(tmp_path, TINY, steady).folder)
    for name, columns in TABLES.items():
        frame = getattr(found, name)
        assert isinstance(frame, pd.DataFrame)
        assert list(frame.columns) == [c.name for c in columns]
    assert (len(found.runs), len(found.epochs), len(found.predictions)) == (8, 16, 8)
    assert found.study == plan_of(TINY).study


def test_probes_are_a_frame_too(tmp_path):
    text = TINY.replace("epochs = 1", 'epochs = 1\nprobes = "weights"')
    found = normbench.load(made_up(tmp_path, text, steady).folder)
    assert len(found.probes) == 8 * 2 * 2
    own = found.probes.merge(found.epochs, on=["run_hash", "step", "epoch"])
    assert (own["value"] == 2 * own["val_accuracy"]).all()
    assert set(found.probes["layer"]) == {"", "fc1"}
    assert found.runs["probes"].unique().tolist() == ["weights"]


def test_a_text_is_taken_as_a_path(tmp_path):
    made_up(tmp_path / "tiny", TINY, steady)
    assert len(normbench.load(str(tmp_path / "tiny")).runs) == 8


def test_a_folder_of_several_results_gives_the_latest(tmp_path):
    import os

    for age, name in enumerate(("b", "a")):
        folder = made_up(tmp_path / name, TINY, steady).folder
        os.utime(folder / "protocol.json", (1000 - age, 1000 - age))
    assert normbench.load(tmp_path).folder.name == "b"


@pytest.mark.parametrize("place", ["", "nowhere", "file", "file/below"])
def test_no_results_are_told_at_once(tmp_path, place):
    (tmp_path / "file").write_text("x", encoding="utf-8")
    with pytest.raises(ResultsError, match="holds no results"):
        normbench.load(tmp_path / place)


def test_runs_leave_out_what_is_no_longer_planned(tmp_path):
    store = made_up(tmp_path, TINY, steady)
    store.consolidate(plan_of(TINY.replace("seeds = 2", "seeds = 1")).rows)
    found = normbench.load(tmp_path)
    assert (len(found.runs), len(found.all_runs), len(found.curves())) == (4, 8, 8)


def test_curves_join_runs_and_evaluations(tmp_path):
    curves = normbench.load(made_up(tmp_path, TINY, steady).folder).curves()
    one = curves[(curves["norm"] == "batch") & (curves["batch_size"] == 8) & (curves["seed"] == 1)]
    assert one["val_accuracy"].tolist() == [0.1, pytest.approx(0.3)]
    assert one["epoch"].tolist() == [0.0, 1.0]
    assert set(one["status"]) == {"finished"}


def test_a_planned_study_without_any_run_gives_missing_rows(tmp_path):
    found = normbench.load(made_up(tmp_path, TINY, lambda run: None).folder)
    assert found.runs["status"].tolist() == ["missing"] * 8
    assert found.epochs.empty
    assert found.curves().empty


def test_a_folder_in_which_only_the_protocol_was_stored_is_empty(tmp_path):
    (tmp_path / "x").mkdir()
    store = made_up(tmp_path / "x", TINY, steady)
    for table in TABLES:
        store.path(table).unlink(missing_ok=True)
    found = normbench.load(store.folder)
    assert found.runs.empty
    assert found.provenance == {"invocations": []}
    assert json.loads((store.folder / "protocol.json").read_text())["schema_version"] >= 1
