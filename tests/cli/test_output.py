"""Output in any encoding, and to readers who leave: no command ends by it."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import start
from tests.support import TINY

STEERING = "\x1b]0;taken\x07\x1b[31mred\u202e"
TITLED = TINY.replace("Tiny study", "λ → 0 “实验”").replace("First experiment", "Éxp – 1")


@pytest.fixture
def narrow(cli, monkeypatch):
    """A command whose output has an encoding without most characters; what it wrote."""

    def call(encoding: str, *arguments: object) -> tuple[int, bytes]:
        held = io.BytesIO()
        with monkeypatch.context() as patch:
            for name in ("stdout", "stderr"):
                patch.setattr(sys, name, io.TextIOWrapper(held, encoding, "strict"))
            status = cli(*arguments).status
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
                stream.detach()  # it would close what both write to
        return status, held.getvalue()

    return call


@pytest.mark.parametrize("encoding", ["latin-1", "ascii"])
def test_every_command_writes_in_an_encoding_that_lacks_characters(
    narrow, claimed, tmp_path, encoding
):
    (tmp_path / "t.toml").write_text(TITLED, encoding="utf-8")
    lines = {
        "plan": ("plan", "t.toml", "--no-estimate", "--results", "none"),
        "status": ("status",), "analyse": ("analyse",), "check": ("check",),
        "report": ("report", "results/tiny", "--format", "md"), "schema": ("schema",),
        "fault": ("plan", "t.toml", "--only", "norm=实验"),
    }  # fmt: skip
    for name, line in lines.items():
        status, said = narrow(encoding, *line)
        assert said.decode(encoding), name
        assert status == {"check": 1, "fault": 2}.get(name, 0) or name == "check", (name, said)


def test_what_is_written_to_files_stays_utf_8(narrow, claimed, tmp_path):
    status, _ = narrow("ascii", "report", "results/tiny", "-o", "page.md")
    assert status == 0
    text = (tmp_path / "page.md").read_text(encoding="utf-8")
    assert not text.isascii()
    assert "\\u" not in text


def test_texts_of_others_do_not_steer_the_terminal(cli, tmp_path):
    text = TINY.replace('title = "Tiny study"', f"title = {json.dumps(STEERING)}")
    (tmp_path / "t.toml").write_text(text, encoding="utf-8")
    for line in (("plan", "t.toml", "--no-estimate"), ("run", "t.toml", "--workers", "0"),
                 ("plan", "t.toml", "--set", f"x{STEERING}=1"), ("status", f"no{STEERING}"),
                 ("report", "results/tiny", "--format", "md"), ("plan", STEERING)):  # fmt: skip
        said = cli(*line)
        for steering in ("\x1b]", "\x1b[31m", "\x07", "\u202e"):
            assert steering not in said.out + said.err, line


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_run_whose_reader_leaves_computes_all_runs(tiny, tmp_path, stream):
    process = start(["run", tiny.name, "--workers", "1", "--no-time"], tmp_path)
    closed, other = process.stdout, process.stderr
    if stream == "stderr":
        closed, other = other, closed
    closed.close()
    with other:
        said = other.read()
    assert process.wait(120) == 0, said
    assert "Traceback" not in said
    done = subprocess.run(
        [sys.executable, "-m", "normbench", "status", "--json"],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert [(row["status"], row["runs"]) for row in json.loads(done.stdout)] == [("finished", 8)]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_output_that_is_lost_is_told(claimed, tmp_path):
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "normbench", "schema"],
            cwd=tmp_path, stdout=full, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith("error: output could not be written: No space left on device")


def test_output_in_an_old_locale(tmp_path):
    (tmp_path / "t.toml").write_text(TITLED, encoding="utf-8")
    environment = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    line = [
        sys.executable,
        "-m",
        "normbench",
        "plan",
        "t.toml",
        "--no-estimate",
        "--only",
        "norm=λ",
    ]
    done = subprocess.run(
        line, cwd=tmp_path, env={**os.environ, **environment}, capture_output=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.decode("ascii").startswith("error: ")
