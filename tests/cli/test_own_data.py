"""Arrays and code of the user's own as data, from a protocol to a report."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from normbench.catalog import target as targets
from tests.support import status_counts

PROTOCOL = """
[protocol]
seeds = 2
[defaults]
model = { name = "mlp", width = 4 }
batch_size = 8
learning_rate = 0.1
budget_steps = 2
dataset = DATASET
[[experiment]]
name = "a"
product.norm = ["layer", "batch"]
"""
CODE = """
import numpy as np
open(RAN, "w").close()
def make(items):
    rng = np.random.default_rng(0)
    return {"x": rng.random((items, 5)), "y": rng.random(items)}
"""


@pytest.fixture(autouse=True)
def _config(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    path = list(sys.path)
    yield
    sys.path[:] = path
    targets._loaded.clear()
    targets.use_root("")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a protocol of arrays, one of code, and both."""
    folder = tmp_path / "study"
    folder.mkdir()
    rng = np.random.default_rng(0)
    np.savez(folder / "my.npz", x=rng.random((60, 5)), y=np.arange(60) % 3)
    (folder / "mydata.py").write_text(CODE.replace("RAN", repr(str(tmp_path / "ran"))))
    arrays = '{ name = "arrays", path = "my.npz" }'
    (folder / "arrays.toml").write_text(PROTOCOL.replace("DATASET", arrays))
    own = '{ name = "own", target = "mydata.py:make", args = { items = 60 } }'
    (folder / "own.toml").write_text(PROTOCOL.replace("DATASET", own))
    return folder


def test_arrays_beside_the_protocol_are_trained_on(cli, folder, tmp_path) -> None:
    said = cli("run", "study/arrays.toml", "--workers", "0")
    assert said.status == 0, said.err
    results = tmp_path / "results" / "arrays"
    assert status_counts(results) == {"finished": 4}
    assert "my.npz" in (results / "data.json").read_text()
    # other arrays under the same name are other data
    np.savez(folder / "my.npz", x=np.ones((60, 5)), y=np.arange(60) % 3)
    again = cli("run", "study/arrays.toml", "--workers", "0")
    assert again.status == 2
    assert "arrays" in again.err
    assert "changed" in again.err
    np.savez(folder / "my.npz", x=np.ones((60, 5)), y=np.arange(60) - 1)
    wrong = cli("plan", "study/arrays.toml")
    assert wrong.status == 2
    assert "has -1 to 58" in wrong.err
    (folder / "my.npz").unlink()
    gone = cli("run", "study/arrays.toml")
    assert gone.status == 2
    assert "there is no my.npz" in gone.err


def test_code_that_makes_data_runs_when_that_was_allowed(cli, folder, tmp_path) -> None:
    asked = cli("run", "study/own.toml", "--workers", "1")
    assert asked.status == 2
    assert "mydata.py:make" in asked.err
    assert not (tmp_path / "ran").exists()
    said = cli("run", "study/own.toml", "--workers", "1", "--trust")
    assert said.status == 0, said.err
    assert (tmp_path / "ran").exists()
    assert status_counts(tmp_path / "results" / "own") == {"finished": 4}
    (tmp_path / "ran").unlink()
    for command in ("report", "status"):
        assert cli(command, "results/own").status == 0
    assert not (tmp_path / "ran").exists()


def test_a_report_reads_no_data_of_code(cli, folder, tmp_path) -> None:
    """A section on linear regressions reads the training inputs: never by running code."""
    text = (folder / "own.toml").read_text()
    text = text.replace('{ name = "mlp", width = 4 }', '"linear"').replace(
        '"layer", "batch"', '"none"'
    )
    text = text.replace("[defaults]", '[defaults]\nprobes = ["linear-weights", "excess-loss"]')
    (folder / "own.toml").write_text(text)
    assert cli("run", "study/own.toml", "--workers", "1", "--trust").status == 0
    (tmp_path / "ran").unlink()
    said = cli("report", "results/own")
    assert said.status == 0, said.err
    assert not (tmp_path / "ran").exists()


def test_augmentations_are_an_axis_from_the_protocol_to_the_report(cli, tmp_path) -> None:
    text = PROTOCOL.replace("DATASET", '{ name = "digits", items = 100 }')
    axis = 'product.augment = [[], "flip", ["flip", { name = "crop", padding = 1 }]]'
    text = text.replace('product.norm = ["layer", "batch"]', f'norm = "layer"\n{axis}')
    (tmp_path / "aug.toml").write_text(text)
    said = cli("run", "aug.toml", "--workers", "0", "--only", "augment=none,flip+crop(padding=1)")
    assert said.status == 0, said.err
    results = tmp_path / "results" / "aug"
    assert status_counts(results, augment="flip+crop(padding=1)") == {"finished": 2}
    assert status_counts(results, augment="flip") == {"missing": 2}
    assert status_counts(results, augment=None) == {"finished": 2}
    assert cli("report", "results/aug", "-o", "page.md").status == 0
    page = (tmp_path / "page.md").read_text()
    assert "augment none" in page
    assert "none, flip, flip crop(padding=1)" in page
