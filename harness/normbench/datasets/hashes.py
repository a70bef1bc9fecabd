"""Digests of files' bytes, kept in the cache so that files that were not touched are not read.

A file counts as the one that was hashed where its size, time of change, time of its status's
change and inode are as they were, and where that was some time before it was hashed: clocks of
file systems are coarse. These are only a shortcut; what identifies a file is its content.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
import time
from collections.abc import Iterator, Sequence
from io import BufferedReader
from pathlib import Path

from normbench.datasets.cache import locked
from normbench.datasets.layouts import LARGEST, Photo
from normbench.datasets.names import printable
from normbench.datasets.parallel import bar, in_order
from normbench.datasets.whole import cache_folder, cannot_write, whole_file
from normbench.errors import UsageError

#: A file that changed less than this before it was hashed may have changed again unseen.
SETTLED_NS = 2_000_000_000

_Known = dict[str, tuple[str, str]]


def file_digests(root: Path, photos: Sequence[Photo]) -> list[str]:
    """SHA-256 of each photo's bytes; those seen before and not touched since are not read.

    Raises :class:`UsageError` where the system does not give a file, and
    :class:`~normbench.errors.WorkError` where the cache cannot be written.
    """
    folder = cache_folder()
    name = hashlib.sha256(os.fsencode(root.resolve())).hexdigest()[:20]
    path = folder / f"photos-{name}.hashes"
    known = _read(path)
    stamps = {photo.name: _stamp(photo) for photo in photos}
    unknown = [p for p in photos if known.get(p.name, ("", ""))[0] != stamps[p.name]]
    found = {p.name: known[p.name][1] for p in photos if p.name in known}
    if not unknown:
        return [found[photo.name] for photo in photos]
    began = time.time_ns()
    with bar(f"reading {len(unknown):,} files", len(unknown)) as step:
        for photo, digest in in_order(lambda p: file_digest(root / p.name), unknown):
            found[photo.name] = digest
            step()
    settled = {
        photo.name: (stamps[photo.name], found[photo.name])
        for photo in photos
        if max(photo.mtime_ns, photo.ctime_ns) < began - SETTLED_NS
    }
    if settled:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with locked(path):
                _write(path, settled)
        except OSError as error:
            raise cannot_write(path, error) from error
    return [found[photo.name] for photo in photos]


def _stamp(photo: Photo) -> str:
    return f"{photo.size} {photo.mtime_ns} {photo.ctime_ns} {photo.inode}"


@contextlib.contextmanager
def opened(path: Path) -> Iterator[BufferedReader]:
    """A regular file to read. Raises :class:`UsageError` where the system does not give it.

    A pipe that has taken the file's name is refused without waiting for it.
    """
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise OSError("it is no regular file")
            yield file
    except OSError as error:
        raise UsageError(
            f"{printable(path)} cannot be read ({error.strerror or error}); likely fix: allow "
            "reading it, or remove it from the folder"
        ) from error


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with opened(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_bytes(path: Path) -> bytes:
    """A file's bytes, one more than a photo may have at most."""
    with opened(path) as file:
        return file.read(LARGEST + 1)


def _read(path: Path) -> _Known:
    """What an earlier call kept; nothing where it is not there, or not as it was written."""
    try:
        digest, text = path.read_bytes().split(b"\n", 1)
        if hashlib.sha256(text).hexdigest().encode() != digest:
            return {}
        return {name: (stamp, sha256) for name, (stamp, sha256) in json.loads(text).items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _write(path: Path, known: _Known) -> None:
    text = json.dumps(known).encode()
    with whole_file(path) as file:
        file.write(hashlib.sha256(text).hexdigest().encode() + b"\n" + text)
