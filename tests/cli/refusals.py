"""What the tests of bad input share: a study, made-up results, and what a refusal must be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.support import TINY

#: A study of six seeds with one claim per batch size.
CLAIMED = (
    TINY.replace("seeds = 2", "seeds = 6")
    + """
[[claim]]
id = "c"
kind = "superiority"
a = "layer"
b = "batch"
expect = "supported"
endpoint = { failure_score = 0.9 }
"""
)
#: What the texts of the study TINY say, to be replaced.
NORMS, SIZES, DATA = '["batch", "layer"]', "[8, 16]", '{ name = "digits", items = 100 }'
READERS = ("status", "analyse", "check", "report")


def steady(run):
    better = 0.3 if run.cell.norm.name == "layer" else 0.0
    return "finished", [0.1, 0.2 + 0.01 * run.seed + better]


def everything(folder: Path) -> dict[str, bytes]:
    """Every file below a folder with its content."""
    found = (p for p in sorted(folder.rglob("*")) if p.is_file() and p.name != ".lock")
    return {str(p.relative_to(folder)): p.read_bytes() for p in found}


def refused(said: Any, *words: str, status: int = 2) -> None:
    """The command ended with this status and a message that holds these words."""
    assert said.status == status, said.err
    assert said.err.startswith("error: ")
    assert [word for word in words if word not in said.err] == [], said.err
    assert "Traceback" not in said.err + said.out
