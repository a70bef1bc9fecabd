"""How the code is laid out: no circle of imports, one meaning for a class name, small modules."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).parent.parent
HARNESS, BENCHMARKS = ROOT / "harness", ROOT / "benchmarks"
#: Lines of a module from which on it says why in its docstring, with the words "lines because".
MOST_LINES = 320


def modules(folder: Path, root: Path) -> dict[str, Path]:
    """The modules below a folder by name; a package by its ``__init__.py``."""
    found = {}
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(tree: ast.Module, known: Iterable[str]) -> Iterator[str]:
    """The known modules that a module names in an import, wherever it stands."""
    names = set(known)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                longer = f"{node.module}.{alias.name}"
                if longer in names:
                    yield longer
                elif node.module in names:
                    yield node.module


def circles(edges: Mapping[str, Iterable[str]]) -> list[set[str]]:
    """The sets of more than one module of which each leads to every other (Tarjan, 1972)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[set[str]] = []

    def visit(one: str) -> None:
        index[one] = low[one] = len(index)
        stack.append(one)
        for other in edges.get(one, ()):
            if other not in index:
                visit(other)
                low[one] = min(low[one], low[other])
            elif other in stack:
                low[one] = min(low[one], index[other])
        if low[one] == index[one]:
            circle = set()
            while one not in circle:
                circle.add(stack.pop())
            if len(circle) > 1:
                found.append(circle)

    for one in edges:
        if one not in index:
            visit(one)
    return found


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def test_the_search_sees_a_circle() -> None:
    assert circles({"a": ["b"], "b": ["c"], "c": ["b"], "d": ["a"]}) == [{"b", "c"}]
    tree = ast.parse("def f():\n    from p.a import b, c\n    import p.d")
    assert set(imports(tree, {"p.a", "p.a.b", "p.d"})) == {"p.a.b", "p.a", "p.d"}


def test_no_imports_go_in_a_circle() -> None:
    """An import within a function, or for types alone, counts like any other."""
    found = modules(HARNESS / "normbench", HARNESS) | modules(BENCHMARKS, ROOT)
    edges = {
        name: sorted({other for other in imports(tree_of(path), found) if other != name})
        for name, path in found.items()
    }
    # a package's own __init__ gathers what its modules define: they do not import it back
    assert not circles(edges)


def test_no_class_name_means_two_things() -> None:
    found = defaultdict(list)
    for name, path in modules(HARNESS / "normbench", HARNESS).items():
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.ClassDef):
                found[node.name].append(name)
    assert not {name: where for name, where in found.items() if len(where) > 1}


def test_long_modules_say_why() -> None:
    unexplained = {}
    for name, path in modules(HARNESS / "normbench", HARNESS).items():
        lines = len(path.read_text(encoding="utf-8").splitlines())
        said = " ".join((ast.get_docstring(tree_of(path)) or "").split())
        if lines > MOST_LINES and "lines because" not in said:
            unexplained[name] = lines
    assert not unexplained
