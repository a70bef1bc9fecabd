"""A protocol that names code runs when its user has said so, and looking at results runs none."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

import normbench
from normbench.catalog import target as targets
from normbench.errors import UsageError
from normbench.executors.inline import InlineExecutor
from normbench.protocol.load import load_text
from normbench.results.store import Store
from normbench.workflow import prepare_plan, run_study
from normbench.workflow.trust import asked, config_folder, require
from tests.support import Watcher, status_counts

PROTOCOL = """
[protocol]
seeds = 2
[defaults]
dataset = { name = "digits", items = 100 }
model = { name = "mlp", width = 4 }
batch_size = 8
learning_rate = 0.1
budget_steps = 2
[[experiment]]
name = "a"
product.norm = ["layer", { name = "own", target = "mine.py:Mine" }]
"""
NORM = """
from torch import nn
from zz_trust import scale
class Mine(nn.Module):
    def __init__(self, channels):
        super().__init__()
    def forward(self, x):
        return x * scale
"""


@pytest.fixture(autouse=True)
def _config(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    path = list(sys.path)
    yield
    sys.path[:] = path
    sys.modules.pop("zz_trust", None)
    targets._loaded.clear()
    targets.use_root("")


@pytest.fixture
def study(tmp_path) -> Path:
    """The folder of a protocol whose code leaves a file when it is imported."""
    folder = tmp_path / "study"
    folder.mkdir()
    (folder / "mine.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()\n" + NORM)
    (folder / "zz_trust.py").write_text("scale = 0.5\n")
    (folder / "own.toml").write_text(PROTOCOL)
    return folder


def ran(tmp_path: Path) -> bool:
    path = tmp_path / "ran"
    there = path.exists()
    path.unlink(missing_ok=True)
    return there


@pytest.mark.parametrize("command", [("run", "--workers", "0"), ("plan", "--no-estimate")])
def test_code_that_nobody_allowed_is_named_and_not_run(cli, study, tmp_path, command):
    said = cli(command[0], "study/own.toml", *command[1:])
    assert said.status == 2
    for text in ("mine.py:Mine", str(study / "mine.py"), str(study / "zz_trust.py"), "--trust"):
        assert text in said.err
    assert not ran(tmp_path)
    assert not (tmp_path / "results").exists()


def test_what_was_allowed_runs_until_any_of_it_changes(cli, study, tmp_path):
    assert cli("run", "study/own.toml", "--workers", "0", "--trust").status == 0
    assert status_counts(tmp_path / "results/own") == {"finished": 4}
    assert ran(tmp_path)
    assert cli("plan", "study/own.toml", "--no-estimate").status == 0
    for file in ("own.toml", "mine.py", "zz_trust.py"):
        before = (study / file).read_text()
        (study / file).write_text(before + "# changed\n")
        said = cli("plan", "study/own.toml", "--no-estimate")
        assert (said.status, "changed since" in said.err) == (2, True)
        (study / file).write_text(before)
        assert cli("plan", "study/own.toml", "--no-estimate").status == 0
    # what is true of one place is not of another, and a copied record is nobody's
    other = tmp_path / "other"
    other.mkdir()
    for path in study.iterdir():
        if path.is_file():
            (other / path.name).write_bytes(path.read_bytes())
    (other / "normbench").mkdir()
    record = (tmp_path / "config/normbench/trusted.json").read_bytes()
    (other / "normbench/trusted.json").write_bytes(record)
    assert cli("plan", "other/own.toml", "--no-estimate").status == 2


def test_looking_at_results_imports_nothing(cli, study, tmp_path):
    assert cli("run", "study/own.toml", "--workers", "0", "--trust").status == 0
    assert ran(tmp_path)
    sys.modules.pop("zz_trust", None)
    targets._loaded.clear()
    for command in ("report", "status", "check", "analyse"):
        cli(command, "results/own")
    normbench.load(tmp_path / "results/own").runs  # noqa: B018  (it is read when asked for)
    assert not ran(tmp_path)
    assert (tmp_path / "reports/own.html").exists()


def test_steps_are_timed_with_code_that_is_allowed_still(cli, study, tmp_path):
    assert cli("run", "study/own.toml", "--workers", "0", "--no-time", "--trust").status == 0
    (study / "zz_trust.py").write_text("scale = 0.25\n")
    said = cli("time", "results/own", "--seconds", "0")
    assert said.status == 2
    assert "changed since" in said.err
    (study / "zz_trust.py").write_text("scale = 0.5\n")
    said = cli("time", "results/own", "--seconds", "0")
    assert said.status == 0, said.err
    assert "2 cells timed" in said.out


def test_a_person_is_asked_and_may_refuse(study):
    text = (study / "own.toml").read_text()
    found = load_text(text, study / "own.toml")
    heard: list[str] = []

    def answer(told: str, *, yes: bool) -> bool:
        heard.append(told)
        return yes

    with pytest.raises(UsageError, match="--trust"):
        require(found, text, grant=False, ask=lambda told: answer(told, yes=False))
    require(found, text, grant=False, ask=lambda told: answer(told, yes=True))
    require(found, text, grant=False, ask=None)
    assert len(heard) == 2
    assert "mine.py:Mine" in heard[0]


@pytest.mark.parametrize(("answer", "status"), [("y\n", 0), ("n\n", 2), ("", 2)])
def test_at_a_terminal_the_question_is_asked(cli, study, monkeypatch, answer, status):
    class Keys(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdin", Keys(answer))
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    said = cli("plan", "study/own.toml", "--no-estimate")
    assert said.status == status
    assert "May this code run? [y/N]" in said.err
    assert str(study / "zz_trust.py") in said.err


def test_code_that_is_edited_while_a_sweep_runs_fails_its_runs_alone(study, tmp_path):
    text = (study / "own.toml").read_text()
    planned = prepare_plan(load_text(text, study / "own.toml"))
    assert ran(tmp_path)
    sys.modules.pop("zz_trust")
    targets._loaded.clear()
    (study / "zz_trust.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nscale = 2\n")
    with InlineExecutor() as executor:
        run_study(
            planned, text, tmp_path / "r", executor, Watcher(), device="cpu", workers=0,
            engine="plain",
        )  # fmt: skip
    assert not ran(tmp_path)
    rows = {row["norm"]: row for row in Store(tmp_path / "r").read("runs").to_pylist()}
    assert rows["layer"]["status"] == "finished"
    assert rows["mine.py:Mine"]["status"] == "failed"
    assert "changed while this was running" in rows["mine.py:Mine"]["error"]


def test_a_protocol_without_targets_asks_nothing_and_needs_no_home(cli, tiny, monkeypatch):
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.delenv("HOME", raising=False)
    assert cli("plan", tiny, "--no-estimate").status == 0


def test_without_a_place_for_it_a_message_says_so(cli, study, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", ".config")  # relative: to be ignored
    monkeypatch.delenv("HOME", raising=False)
    said = cli("plan", "study/own.toml", "--trust", "--no-estimate")
    assert said.status == 2
    assert "set HOME" in said.err


def test_a_record_that_others_may_write_grants_nothing(cli, study):
    assert cli("plan", "study/own.toml", "--no-estimate", "--trust").status == 0
    config_folder().chmod(0o777)
    said = cli("plan", "study/own.toml", "--no-estimate")
    assert (said.status, "chmod go-w" in said.err) == (2, True)


def test_a_target_by_override_is_asked_about_too(cli, study):
    text = PROTOCOL.replace('{ name = "own", target = "mine.py:Mine" }', '"rms"')
    (study / "plain.toml").write_text(text)
    assert asked(load_text(text, study / "plain.toml"), text) is None
    given = '--set=norm={ name = "own", target = "mine.py:Mine" }'
    said = cli("plan", "study/plain.toml", "--no-estimate", given)
    assert said.status == 2
    assert "mine.py:Mine" in said.err
