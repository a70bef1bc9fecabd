"""From the first run to the report: what was declared, what changed, and what was known then."""

from __future__ import annotations

from pathlib import Path

import pytest

from normbench.training import work as training_work
from tests.cli.refusals import CLAIMED

SMALL = CLAIMED.replace("batch_size = [8, 16]", "batch_size = [16]")


@pytest.fixture
def protocol(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.toml"
    path.write_text(SMALL, encoding="utf-8")
    return path


def test_seeds_that_are_added_after_a_look_are_told_everywhere(cli, protocol, tmp_path):
    assert cli("run", protocol, "--workers", "0").err == ""
    first = cli("report", "results/tiny", "--format", "md")
    assert "declared before the first run" in first.out
    assert "exploratory" not in first.out
    planned = cli("plan", protocol, "--seeds", "8", "--no-estimate")
    assert "seeds added: 6–7; exploratory from now on: c" in planned.out
    ran = cli("run", protocol, "--workers", "0", "--seeds", "8")
    assert "seeds added: 6–7; exploratory from now on: c" in ran.err
    said = cli("analyse", "results/tiny").out
    assert "[exploratory: seeds added after a look: 6–7 (12 runs finished)]" in said
    assert "deviation: 20" in said
    assert "seeds added after a look" in cli("check", "results/tiny").out
    page = cli("report", "results/tiny", "--format", "md").out
    assert "declared before the first run)" not in page
    assert "exploratory: seeds added after a look" in page
    assert "12 runs finished, after a look at the results: one: seeds added: 6–7" in page


def test_a_changed_rate_and_fewer_seeds_are_no_longer_declared_beforehand(cli, protocol):
    assert cli("run", protocol, "--workers", "0").status == 0
    changes = ("--seeds", "6", "--set", "experiment.one.product.norm=['batch','layer','none']")
    assert cli("run", protocol, "--workers", "0", *changes).status == 0
    said = cli("analyse", "results/tiny").out  # two more norms touch no claim, and are listed
    assert "exploratory:" not in said
    assert "norm: none added; no claim rests on it" in said
    assert cli("run", protocol, "--workers", "0", "--set", "learning_rate=0.2", "--replace",
               *changes).status == 0  # fmt: skip
    said = cli("analyse", "results/tiny").out
    assert "exploratory: learning_rate of a: 0.1 → 0.2" in said
    assert "18 runs finished, after a look at the results" in said


def test_a_change_before_the_first_run_is_registered_anew(cli, protocol, monkeypatch):
    failing = ("--set", "learning_rate=0.2", "--set", "epochs=2")
    with monkeypatch.context() as patch:
        patch.setattr(training_work, "train_group", _fail)
        assert cli("run", protocol, "--workers", "0", *failing).status == 1
    assert cli("run", protocol, "--workers", "0").status == 0
    said = cli("analyse", "results/tiny").out
    assert "exploratory" not in said
    assert "registered anew, as nothing was known yet" in said


def _fail(group):
    raise RuntimeError("no device")
