"""A norm of another package, found by its entry point: the code that docs/extending.md gives."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

PROTOCOL = """
[protocol]
name = "foreign"
seeds = 2

[defaults]
dataset = { name = "digits", items = 200 }
model = "small-cnn"
batch_size = 16
epochs = 2
learning_rate = 0.05

[[experiment]]
name = "norms"
[experiment.product]
norm = ["none", "frn"]

[[experiment]]
name = "vectors"
norm = "frn"
model = "mlp"
"""


def install(folder: Path) -> None:
    """Lay the documented module into a folder as an installed package with its entry point."""
    text = (Path(__file__).parents[2] / "docs" / "extending.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(# mypackage/frn\.py\n.*?)```", text, re.DOTALL)
    about = "mypackage-1.0.dist-info"
    for name, content in {
        "mypackage/__init__.py": "",
        "mypackage/frn.py": code,
        f"{about}/METADATA": "Metadata-Version: 2.1\nName: mypackage\nVersion: 1.0\n",
        f"{about}/entry_points.txt": "[normbench.norms]\nfrn = mypackage.frn:ENTRY\n",
    }.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(content, encoding="utf-8")


def test_the_documented_norm_of_timm_is_trained_beside_ours(tmp_path: Path) -> None:
    pytest.importorskip("timm.layers")
    install(tmp_path)
    (tmp_path / "foreign.toml").write_text(PROTOCOL, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "normbench", "run", "foreign.toml", "--workers", "1", "--no-time"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    # this process was started without the package and could not load the results as such
    runs = pd.read_parquet(tmp_path / "results" / "foreign" / "runs.parquet")
    found = runs.groupby(["experiment", "norm"])["status"].agg(list).to_dict()
    assert found == {
        ("norms", "frn"): ["finished"] * 2,
        ("norms", "none"): ["finished"] * 2,
        ("vectors", "frn"): ["undefined"] * 2,
    }
    assert set(runs.loc[runs["norm"] == "frn", "engine"].dropna()) == {"plain"}
