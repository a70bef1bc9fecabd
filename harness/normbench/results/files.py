"""Files that are written whole or not at all, and read as what they are or not at all.

Every JSON file of a results folder carries a checksum of its content. What the system withholds
may be whole, and what is damaged may be mended: neither is taken for a file that is not there.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from normbench.errors import ResultsError, UnreadableResultsError, WorkError

_CHECKSUM = "checksum"
#: Flags for opening that not every system has: a pipe must not make a reader wait.
_READ = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
_WRITE = os.O_RDWR | os.O_CREAT | os.O_TRUNC | getattr(os, "O_NOFOLLOW", 0)


class DamagedError(ResultsError):
    """A stored file that is not what was written, or not all of it."""


# -- writing -------------------------------------------------------------------------------------


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def is_special(path: Path) -> bool:
    """Whether a place is there and no regular file: a pipe, a device, a folder, an open file."""
    if os.path.realpath(path.parent).startswith("/proc/"):
        return True
    try:
        return not stat.S_ISREG(path.stat().st_mode)
    except FileNotFoundError:
        return False


def atomic_write(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Let ``write`` fill a temporary file beside ``path``, sync it, and rename it.

    After a crash at any moment ``path`` holds its old content or the whole new one. A link stays:
    the file that it names is replaced. A pipe or a device is written to directly, and never
    replaced. Raises :class:`WorkError` where the file cannot be written; the old content then
    still stands.
    """
    try:
        if is_special(path):
            with contextlib.suppress(BrokenPipeError), path.open("wb") as file:
                write(file)
        else:
            _replace(Path(os.path.realpath(path)) if path.is_symlink() else path, write)
    except OSError as error:
        reason = error.strerror or str(error)
        raise WorkError(
            f"cannot write {path}: {reason}. What was finished before is kept; make room or "
            "allow writing, then run the same command again"
        ) from error


def _replace(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        # without the name: what is given a named file may open it anew, and read the name as an
        # address (``v1:x`` is one to Arrow)
        with os.fdopen(os.open(temporary, _WRITE, 0o666), "w+b") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        _sync_folder(path.parent)
    except (Exception, KeyboardInterrupt):
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def write_text(path: Path, text: str) -> None:
    """Write a text file whole; halves of characters, as from names that are not UTF-8, as ``?``."""
    content = text.encode("utf-8", errors="replace")
    atomic_write(path, lambda file: file.write(content))


def write_object(path: Path, content: dict[str, Any], *, sort: bool = False) -> None:
    """Write a JSON file whole, with a checksum of its content."""
    held = json.loads(json.dumps({k: v for k, v in content.items() if k != _CHECKSUM}))
    held[_CHECKSUM] = _checksum(held)
    write_text(path, json.dumps(held, indent=1, sort_keys=sort) + "\n")


def make_folder(folder: Path) -> None:
    """Make a folder and its parents. Raises :class:`WorkError` where that cannot be done."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WorkError(
            f"cannot make the folder {folder}: {error.strerror}; choose another place, make "
            "room, or allow writing"
        ) from error


def set_aside(path: Path) -> None:
    """Give a damaged file the ending ``.damaged``, with a number where there is one already."""
    names = (path.with_name(f"{path.name}.damaged{n}") for n in ("", *range(2, 10_000)))
    path.replace(next(name for name in names if not os.path.lexists(name)))


# -- reading -------------------------------------------------------------------------------------


def first_line(error: Exception) -> str:
    """What an error says, in a line."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def unreadable(path: Path, error: OSError) -> UnreadableResultsError:
    """The error for a file that the system does not let be read."""
    return UnreadableResultsError(
        f"{path} cannot be read ({os.strerror(error.errno or 0)}); it is left as it is: allow "
        "reading it, or move it away"
    )


def damaged(path: Path, reason: Exception | str, without: str) -> DamagedError:
    """The error for a file that is not what was written; ``without`` says what its loss means."""
    said = reason if isinstance(reason, str) else f"{type(reason).__name__}: {first_line(reason)}"
    return DamagedError(
        f"{path} is damaged ({said}); restore it from a copy, or move it away: {without}"
    )


def open_stored(path: Path) -> IO[bytes]:
    """A stored file, opened for reading.

    Raises ``FileNotFoundError``, and :class:`UnreadableResultsError` where the system withholds
    it, or where it is no file.
    """
    try:
        descriptor = os.open(path, _READ)
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(path) from None
    except OSError as error:
        raise unreadable(path, error) from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise UnreadableResultsError(
            f"{path} cannot be read (it is no regular file); it is left as it is: move it away"
        )
    return os.fdopen(descriptor, "rb")


def read_object(path: Path, without: str) -> dict[str, Any] | None:
    """The object in a JSON file without its checksum; None only where there is no such file.

    A file without a checksum is of an older version, or a user took it out, and counts as it is.
    ``without`` says what it means to move the file away. Raises :class:`DamagedError` and
    :class:`UnreadableResultsError`.
    """
    try:
        with open_stored(path) as file:
            text = file.read()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise unreadable(path, error) from None
    try:
        content = json.loads(text.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise damaged(path, error, without) from None
    if not isinstance(content, dict):
        raise damaged(path, "it holds no object", without)
    given = content.pop(_CHECKSUM, None)
    if given is not None and given != _checksum(content):
        raise damaged(
            path, f"or edited: its content does not fit its {_CHECKSUM}",
            f"{without}. Where an edit is meant, take the line {_CHECKSUM!r} out",
        )  # fmt: skip
    return content


def _checksum(content: dict[str, Any]) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return "sha256:" + hashlib.sha256(text.encode("ascii")).hexdigest()
