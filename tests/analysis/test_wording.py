"""Sentences are made by the report: the analysis has values, and its reasons in one module."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import normbench.analysis

FOLDER = Path(normbench.analysis.__file__).parent
#: As many words make a sentence of a text.
WORDS = 4
#: Modules and functions that may hold sentences, and why.
ALLOWED = {
    "reasons.py": "why something is not compared, worded like the messages of errors",
    "boundary.py:attempt": "a bug, told at the end of a command",
    "by_experiment.py:refuse": "a table that could not be made, told beside it",
    "tables.py:__repr__": "what Python shows of all tables",
}
#: Texts of several words that are values of a column.
VALUES = {"same learning rate for all", "better, within the margin", "worse, within the margin"}


def texts(tree: ast.Module) -> Iterator[tuple[str, int, str]]:
    """Every text of a module: the function it stands in, its line, and what is fixed of it."""

    def walk(node: ast.AST, function: str) -> Iterator[tuple[str, int, str]]:
        if isinstance(node, ast.Raise):  # the message of an error
            return
        if isinstance(node, ast.FunctionDef):
            function = node.name
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield function, node.lineno, node.value
        elif isinstance(node, ast.JoinedStr):
            fixed = [part.value for part in node.values if isinstance(part, ast.Constant)]
            yield function, node.lineno, " … ".join(map(str, fixed))
            for part in node.values:
                if isinstance(part, ast.FormattedValue):
                    yield from walk(part.value, function)
        else:
            for child in ast.iter_child_nodes(node):
                documented = isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
                if (
                    documented
                    and isinstance(child, ast.Expr)
                    and isinstance(child.value, ast.Constant)
                ):
                    continue  # a docstring
                yield from walk(child, function)

    yield from walk(tree, "")


def sentences(name: str, source: str) -> list[str]:
    found = []
    for function, line, text in texts(ast.parse(source)):
        known = name in ALLOWED or f"{name}:{function}" in ALLOWED or text in VALUES
        words = [word for word in text.split() if re.search(r"[^\W\d]{2}", word)]
        if len(words) >= WORDS and not known:
            found.append(f"{name}, line {line}: {text!r}")
    return found


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.py")), ids=lambda path: path.name)
def test_the_analysis_makes_no_sentences(path: Path) -> None:
    assert sentences(path.name, path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("source", "kept"),
    [
        ("x = 'batch norm loses 3 points more'", 1),
        ("x = f'{a} loses {b} points more than {c}'", 1),
        ("x = f'{g(\"this is hidden inside\")}'", 1),
        ("def f():\n    'Gives what there is of it.'\n    return 1", 0),
        ("raise ValueError('there are no runs here yet')", 0),
        ("x = ['estimate', 'low', 'high', 'level']", 0),
        ("x = 'better, within the margin'", 0),
    ],
)
def test_a_sentence_is_found(source: str, kept: int) -> None:
    assert len(sentences("made.py", source)) == kept


def test_what_is_allowed_is_there() -> None:
    for place in ALLOWED:
        name, _, function = place.partition(":")
        source = (FOLDER / name).read_text(encoding="utf-8")
        assert not function or f"def {function}(" in source
