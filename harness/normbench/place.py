"""Where an error of another package happened, for people: its own file and line, no long path."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import PurePath
from types import TracebackType

#: An error's text, at most: it becomes a cell of a table and a line of a page.
MOST = 2000


def place_of(error: BaseException, packages: Collection[str]) -> str:
    """File and line of the innermost frame in these top-level packages; empty where there is none.

    A file is named from its package on, as in ``mypackage/frn.py, line 12``.
    """
    found = ""
    if isinstance(error, SyntaxError) and error.filename:
        inside = [part for part in PurePath(error.filename).parts if part in packages]
        found = _named(error.filename, error.lineno or 0, inside[-1] if inside else "")
    trace: TracebackType | None = error.__traceback__
    while trace is not None:
        module = str(trace.tb_frame.f_globals.get("__name__", ""))
        top = module.partition(".")[0]
        if top in packages:
            found = _named(trace.tb_frame.f_code.co_filename, trace.tb_lineno, top)
        trace = trace.tb_next
    return found


def _named(file: str, line: int, package: str) -> str:
    parts = PurePath(file).parts
    start = len(parts) - 1
    if package in parts[:-1]:
        start = len(parts) - 2 - parts[:-1][::-1].index(package)
    return f"{'/'.join(parts[start:])}, line {line}"


def told(error: BaseException, packages: Collection[str] = ()) -> str:
    """An error as one line: its type, its message and, where it has one in these, its place."""
    said = error.msg if isinstance(error, SyntaxError) else str(error)
    text = " ".join("".join(c if c.isprintable() else " " for c in said).split())
    name = type(error).__name__
    place = place_of(error, packages)
    return f"{name}: {text}"[:MOST] + (f" ({place})" if place else "")
