"""Where a report may be written: on no file that holds something else."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from normbench.errors import UsageError

#: Endings of files that are no pages: protocols, tables, programs, data.
_OTHERS = frozenset({".toml", ".parquet", ".json", ".csv", ".py", ".lock", ".npz", ".npy"})


def check_place(path: Path) -> None:
    """Raise :class:`UsageError` for a folder, a protocol, or a file of results."""
    _check_name(path)
    if path.is_symlink():
        _check_name(Path(os.path.realpath(path)))


def check_table_folder(folder: Path) -> None:
    """Raise :class:`UsageError` for a results folder or its parts, which have tables of theirs."""
    place = folder.resolve()
    if (place.parent if place.name == "parts" else place).joinpath("protocol.json").exists():
        raise UsageError(
            "tables of an analysis are not written into a results folder\n"
            f"    received: {folder}\n    likely fix: --output {folder.name}_tables"
        )


def _check_name(path: Path) -> None:
    received = f"    received: {path}"
    if path.is_dir():
        raise UsageError(
            f"--output names the file of the report, and this is a folder\n{received}\n"
            f"    likely fix: --output {path / 'report.html'}"
        )
    if path.suffix.lower() in _OTHERS:
        raise UsageError(
            f"a report is HTML or Markdown, and {path.suffix} is the ending of something else, "
            f"which would be overwritten\n{received}\n    likely fix: --output {path.stem}.html"
        )


def is_standard_output(path: Path) -> bool:
    """Whether a place is what this process prints to, as ``/dev/stdout`` is, under any name."""
    try:
        return os.path.samestat(path.stat(), os.fstat(sys.stdout.fileno()))
    except (OSError, ValueError):
        return False
