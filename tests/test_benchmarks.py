"""The benchmarks: each module can be imported, and none needs itself."""

from __future__ import annotations

import ast
import importlib
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"
MODULES = sorted(path.stem for path in FOLDER.glob("*.py") if not path.stem.startswith("__"))


def needed(module: str) -> set[str]:
    """The benchmarks' modules that one imports, wherever in its text."""
    found = set()
    for node in ast.walk(ast.parse((FOLDER / f"{module}.py").read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module == "benchmarks":
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("benchmarks."):
            found.add(str(node.module).removeprefix("benchmarks."))
    return found


def test_no_module_needs_itself() -> None:
    graph = {module: needed(module) for module in [*MODULES, "__main__"]}
    assert graph["lanes"]  # imports inside functions count
    TopologicalSorter(graph).prepare()  # raises where there is a circle


@pytest.mark.parametrize("module", [m for m in MODULES if m != "with_lightning"])
def test_every_module_finds_what_it_imports(module: str) -> None:
    importlib.import_module(f"benchmarks.{module}")
