"""Writing a file whole or not at all."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from normbench.errors import WorkError


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def atomic_write(path: Path, write: Callable[[Path], None]) -> None:
    """Let ``write`` fill a temporary file beside ``path``, sync it, and rename it.

    After a crash at any moment ``path`` holds its old content or the whole new one. Raises
    :class:`WorkError` where the file cannot be written; the old content then still stands.
    """
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        write(temporary)
        descriptor = os.open(temporary, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        temporary.replace(path)
        _sync_folder(path.parent)
    except (Exception, KeyboardInterrupt) as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        if not isinstance(error, OSError):
            raise
        reason = error.strerror or str(error)
        raise WorkError(
            f"cannot write {path}: {reason}. What was finished before is kept; make room or "
            "allow writing, then run the same command again"
        ) from error


def make_folder(folder: Path) -> None:
    """Make a folder and its parents. Raises :class:`WorkError` where that cannot be done."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WorkError(
            f"cannot make the folder {folder}: {error.strerror}; choose another place, make "
            "room, or allow writing"
        ) from error


def read_object(path: Path) -> dict[str, Any] | None:
    """The object in a JSON file; None where there is no such file or it is damaged."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def set_aside(path: Path) -> None:
    """Give a damaged file the ending ``.damaged``, with a number where there is one already."""
    names = (path.with_name(f"{path.name}.damaged{n}") for n in ("", *range(2, 10_000)))
    path.replace(next(name for name in names if not name.exists()))


def write_text(path: Path, text: str) -> None:
    """Write a text file whole."""

    def write(temporary: Path) -> None:
        temporary.write_text(text, encoding="utf-8")

    atomic_write(path, write)
