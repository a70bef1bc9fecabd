"""Small real packages in a folder, as a user would have installed them, for a command to find."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

#: A norm that divides by the root mean square, with a helper module of its own.
SCALED = {
    "scaled/__init__.py": "",
    "scaled/entry.py": """
        from normbench.catalog import BATCH_INDEPENDENT, Entry, Param

        ENTRY = Entry(
            "scaled.layer:build", "divides by a mean", traits=frozenset({BATCH_INDEPENDENT}),
            params={"floor": Param(0.1, "added", above=0.0)},
        )
    """,
    "scaled/layer.py": """
        from torch import nn

        from scaled.helper import factor

        class Scaled(nn.Module):
            def __init__(self, floor):
                super().__init__()
                self.floor = floor

            def forward(self, x):
                over = tuple(range(1, x.dim()))
                return factor() * x / (self.floor + x.abs().mean(over, keepdim=True))

        def build(shape, *, floor):
            return Scaled(floor)
    """,
    "scaled/helper.py": """
        def factor():
            return 1.0
    """,
}
PROTOCOL = """
[protocol]
name = "foreign"
seeds = 2

[defaults]
dataset = { name = "digits", items = 100 }
model = { name = "mlp", width = 8 }
batch_size = 16
epochs = 1
learning_rate = 0.05

[[experiment]]
name = "norms"
[experiment.product]
norm = ["none", "scaled"]
"""


def lay(
    folder: Path,
    files: dict[str, str],
    points: str = "[normbench.norms]\nscaled = scaled.entry:ENTRY\n",
    name: str = "scaled-norms",
    version: str = "1.0",
) -> None:
    """Lay a package with its metadata into a folder; an earlier version of it goes."""
    about = name.replace("-", "_")
    for old in folder.glob(f"{about}-*.dist-info"):
        for file in old.iterdir():
            file.unlink()
        old.rmdir()
    for place, content in {
        **files,
        f"{about}-{version}.dist-info/METADATA": (
            f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        ),
        f"{about}-{version}.dist-info/entry_points.txt": points,
    }.items():
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        (folder / place).write_text(textwrap.dedent(content), encoding="utf-8")


def command(
    folder: Path, *arguments: str, packages: Sequence[Path] = ()
) -> subprocess.CompletedProcess[str]:
    """``normbench`` in a folder, with these folders of packages."""
    return python(folder, "-m", "normbench", *arguments, packages=packages)


def python(
    folder: Path, *arguments: str, packages: Sequence[Path] = ()
) -> subprocess.CompletedProcess[str]:
    """Python in a folder, with these folders of packages; nothing is kept compiled."""
    path = os.pathsep.join([*map(str, packages), *sys.path])
    return subprocess.run(
        [sys.executable, *arguments], cwd=folder, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1", "COLUMNS": "200"},
    )  # fmt: skip
