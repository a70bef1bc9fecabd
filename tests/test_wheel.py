"""The built wheel holds all that a plain installation needs, and works outside the checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_the_wheel_works_alone(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", str(tmp_path)]
    subprocess.run([*command, str(ROOT)], check=True)
    (wheel,) = tmp_path.glob("normbench-*.whl")
    installed = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(installed)
    for part in ("report/templates/report.html", "_protocols/quick.toml", "_protocols/full.toml"):
        assert (installed / "normbench" / part).is_file()

    def normbench(*arguments: str) -> str:
        # -P and PYTHONPATH: the extracted wheel comes before any editable installation
        done = subprocess.run(
            [sys.executable, "-P", "-m", "normbench", *arguments],
            cwd=tmp_path, capture_output=True, text=True, check=True,
            env=os.environ | {"PYTHONPATH": str(installed)},
        )  # fmt: skip
        return done.stdout

    where = subprocess.run(
        [sys.executable, "-P", "-c", "import normbench; print(normbench.__file__)"],
        cwd=tmp_path, capture_output=True, text=True, check=True,
        env=os.environ | {"PYTHONPATH": str(installed)},
    )  # fmt: skip
    assert str(installed) in where.stdout
    small = ["--set", "epochs=1", "--seeds", "2", "--only", "batch_size=128"]
    normbench("run", "quick", "--workers", "0", *small)
    assert "report:" in normbench("report", "results/quick")
    page = (tmp_path / "reports" / "quick.html").read_text(encoding="utf-8")
    assert "<svg" in page
