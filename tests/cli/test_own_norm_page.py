"""The how-to of docs/own-norm.md, as it is written: its files, its protocol and its commands."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from normbench.catalog import target as targets
from normbench.results.store import Store

PAGE = Path(__file__).parents[2] / "docs" / "own-norm.md"
#: What makes it short enough for a test; the files stay as they are.
SMALL = (
    "--seeds", "2", "--workers", "0", "--no-time", "--engine", "plain", "--set", "budget_steps=1",
    "--set", "experiment.norms.tune.learning_rate=[0.01, 0.03]",
    "--set", 'dataset={ name = "image-folder", path = "photos", resolution = 32 }',
    "--set", 'model={ name = "resnet", width = 8 }', "--set", "batch_size=8", "--quiet",
)  # fmt: skip


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with images of one's own, and the page's files."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("NORMBENCH_CACHE", str(tmp_path / "cache"))
    path = list(sys.path)
    (tmp_path / "mynorm.py").write_text(blocks("python")[0])
    (tmp_path / "mynorm.toml").write_text(blocks("toml")[0])
    draw = np.random.default_rng(0)
    for kind, shade in (("cats", 60), ("dogs", 160)):
        (tmp_path / "photos" / kind).mkdir(parents=True)
        for i in range(30):
            pixels = draw.integers(0, 80, (40, 40, 3)) + shade
            Image.fromarray(pixels.astype("uint8")).save(tmp_path / "photos" / kind / f"{i}.png")
    yield tmp_path
    sys.path[:] = path
    targets._loaded.clear()
    targets.use_root("")


def test_the_files_are_as_short_as_the_page_promises():
    assert len(blocks("python")[0].splitlines()) <= 15
    assert len(blocks("toml")[0].splitlines()) <= 25


def test_from_an_empty_folder_to_a_report(cli, folder):
    commands = [shlex.split(line) for line in blocks("sh")[0].splitlines()]
    assert [words[1] for words in commands] == ["check-norm", "plan", "run", "report"]
    refused = cli("run", "mynorm.toml", *SMALL)
    assert (refused.status, "--trust" in refused.err) == (2, True)
    more = {"plan": ("--no-estimate", "--workers", "1"), "run": SMALL}
    for words in commands:
        said = cli(*words[1:], *more.get(words[1], ()))
        assert said.status == 0, (words, said.err, said.out)
    rows = Store(folder / "results/mynorm").read("runs").to_pylist()
    assert {row["status"] for row in rows} == {"finished"}
    assert {row["norm"] for row in rows} == {
        "batch", "layer", "group", "mynorm.py:PowerNorm", "mynorm.py:PowerNorm(p=3.0)",
    }  # fmt: skip
    page = (folder / "reports/mynorm.html").read_text(encoding="utf-8")
    assert "mynorm.py:PowerNorm(p=3.0)" in page


def test_the_function_of_the_page_is_a_target(folder, cli):
    (folder / "grouped.py").write_text(blocks("python")[1])
    said = cli("check-norm", "grouped.py:grouped")
    assert said.status == 0, said.out
