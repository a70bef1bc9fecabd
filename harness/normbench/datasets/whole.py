"""Files of the cache: written whole or not at all, in a folder outside the project."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from normbench.errors import UsageError, WorkError

#: Environment variable that names the cache's folder.
CACHE_VARIABLE = "NORMBENCH_CACHE"


def cache_folder() -> Path:
    """The cache's folder: ``$NORMBENCH_CACHE``, else ``normbench`` in the user's cache.

    That is ``$XDG_CACHE_HOME``, where it is an absolute path (the XDG rule), else ``~/.cache``.
    The folder need not exist. Raises :class:`UsageError` where there is no home folder.
    """
    own = os.environ.get(CACHE_VARIABLE, "")
    if own:
        try:
            return Path(own).expanduser().absolute()
        except RuntimeError as error:  # ~ of a user who is not there
            raise _homeless(error) from error
    shared = os.environ.get("XDG_CACHE_HOME", "")
    if shared and Path(shared).is_absolute():
        return Path(shared) / "normbench"
    try:
        return Path.home() / ".cache" / "normbench"
    except RuntimeError as error:
        raise _homeless(error) from error


def _homeless(error: RuntimeError) -> UsageError:
    return UsageError(
        f"the cache needs a folder, and there is no such home folder ({error}); set the "
        f"environment variable {CACHE_VARIABLE} to a folder with room"
    )


def cannot_write(path: Path, error: OSError) -> WorkError:
    """The error for a cache that cannot be written, with what helps."""
    return WorkError(
        f"cannot write the cache of decoded images {path}: {error.strerror or error}. Nothing "
        f"is lost; make room, allow writing, or set the environment variable {CACHE_VARIABLE} "
        "to a folder with room, then run the same command again"
    )


def sync_folder(folder: Path) -> None:
    """Let a folder's names be on the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """A file to write that takes the name ``path`` only when it is complete and on the disk.

    The caller holds the file's lock. Whatever is raised inside, no temporary file stays, and
    ``path`` keeps its old content. ``OSError`` is raised as it comes.
    """
    for left in path.parent.glob(f"{path.name}.*.tmp"):  # of a process that was killed
        left.unlink(missing_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        sync_folder(path.parent)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
