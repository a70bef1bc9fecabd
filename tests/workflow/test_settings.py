"""Precision, accumulated batches and averaged weights in a sweep: resumed, shared out, analysed."""

from __future__ import annotations

import json

import pytest

from normbench.analysis.tables import analyse
from normbench.calibration import candidates
from normbench.executors.local import LocalExecutor
from normbench.results.execution import read_execution
from normbench.results.load import load
from tests.support import Watcher, differences, sweep

SETTINGS = """
[protocol]
seeds = 4
[defaults]
dataset = { name = "digits", items = 120 }
model = { name = "mlp", width = 8 }
batch_size = 4
accumulate = 3
learning_rate = 0.1
epochs = 2
[[experiment]]
name = "short"
norm = "batch"
[experiment.product]
precision = ["fp32", "bf16", "fp16"]
ema = [0.0, 0.9]
[[family]]
id = "main"
[[claim]]
id = "averaged"
family = "main"
experiment = "short"
kind = "superiority"
where = { precision = "bf16" }
a = { norm = "batch", ema = 0.9 }
b = { norm = "batch", ema = 0.0 }
endpoint = { kind = "final", metric = "val_loss", window = 1, failure_score = 9.0 }
text = "Averaged weights end with a lower loss."
"""
REASON = "the packed engine computes in fp32 alone, not in "


class Interrupting(Watcher):
    """Presses Ctrl-C once some groups are committed."""

    def finished(self, rows):
        super().finished(rows)
        if len(self.rows) >= 8:
            raise KeyboardInterrupt


@pytest.fixture(scope="module", autouse=True)
def _tried_however_slow_the_machine():
    """Stacking is not tried where that takes more than a second: here it is, on any machine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(candidates, "_TRIAL_STEPS", 0)
        yield


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "r"
    sweep(SETTINGS, folder, engine="packed")
    return folder


def test_resumed_and_shared_out_it_has_the_same_bits(whole, tmp_path):
    plan = read_execution(whole)
    first = sweep(SETTINGS, tmp_path / "a", observer=Interrupting(), follow=plan, engine="packed")
    assert first.interrupted
    sweep(SETTINGS, tmp_path / "a", follow=plan, engine="packed")
    assert differences(whole, tmp_path / "a") == []
    with LocalExecutor(2) as executor:
        sweep(SETTINGS, tmp_path / "b", executor=executor, follow=plan, engine="packed")
    assert differences(whole, tmp_path / "b") == []


def test_rows_say_the_settings_and_the_engine_that_could(whole):
    runs = load(whole).runs
    assert runs["status"].eq("finished").all()
    assert runs["accumulate"].eq(3).all()
    assert runs["samples"].eq(12 * runs["steps"]).all()
    engines = runs.groupby("precision")["engine"].unique().map(list).to_dict()
    assert engines == {"fp32": ["packed"], "bf16": ["stacked"], "fp16": ["stacked"]}
    skipped = runs.set_index("precision")["skipped_updates"]
    assert skipped["fp16"].notna().all()
    assert skipped[["fp32", "bf16"]].isna().all()
    reasons = {
        group["engine"]["name"]: group.get("reason")
        for group in json.loads((whole / "execution.json").read_text())["groups"].values()
    }
    assert reasons["packed"] is None
    assert reasons["stacked"].startswith(REASON)


def test_settings_are_said_and_claims_may_be_about_them(whole):
    found = analyse(load(whole))
    (row,) = found["claims"].to_dict("records")
    assert row["verdict"]
    assert row["n"] == 4
    settings = set(found["final"]["setting"])
    assert {"precision=bf16, ema=0.9", "precision=fp32, ema=0"} <= settings


def test_the_plan_says_which_engine_is_left_out(cli, tmp_path):
    (tmp_path / "s.toml").write_text(SETTINGS, encoding="utf-8")
    said = " ".join(cli("plan", "s.toml", "--estimate", "full").out.split())
    for precision in ("bf16", "fp16"):
        assert f"2 cells have an engine less: {REASON}{precision}" in said
