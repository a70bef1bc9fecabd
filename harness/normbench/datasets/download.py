"""Fetching a file whose content is known beforehand: resumed where it stopped, checked, then there.

The bytes go to a file beside the goal (``….part``). A connection that ends early is taken up where
it ended, in the same call and in later ones; what has been fetched is only ever thrown away where
it turns out to be something else.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from normbench.datasets.names import cut
from normbench.datasets.whole import sync_folder
from normbench.errors import WorkError

_PIECE = 1 << 20
#: Tries without a single new byte, one after the other, before a fetch is given up.
_TRIES = 5
_TIMEOUT = 60.0

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Known:
    """A file of the network: where it is, how many bytes it has, and their SHA-256."""

    url: str
    size: int
    sha256: str

    @property
    def name(self) -> str:
        """The file's name, the last part of its address."""
        return self.url.rpartition("/")[2]


def untold(done: int, total: int) -> None:
    """Tell nobody how far it is."""
    del done, total


class _StrayError(Exception):
    """The server gives something else; caught here, it becomes a :class:`WorkError`."""


def fetch_file(
    known: Known, path: Path, progress: Progress = untold, *, pause: float = 1.0
) -> None:
    """Fetch a file to ``path``, which takes the name only when its content has been checked.

    ``progress`` is told the bytes that are there and those of the whole; ``pause`` are the seconds
    before another try. Raises :class:`WorkError` where it cannot be fetched (what came is kept for
    the next call), or is not what is known (it is removed).
    """
    part = path.with_name(f"{path.name}.part")
    check_room(path.parent, known.size - _size(part), f"fetching {known.name}")
    failed = 0
    while _size(part) < known.size:
        before = _size(part)
        try:
            _continue(known, part, progress)
            why = "the connection ended early"
        except _StrayError as error:
            raise WorkError(
                f"{known.url} does not give the file that is known: {error}; likely fix: try again "
                "later, from another network, or fetch it by hand and unpack it there"
            ) from None
        except urllib.error.HTTPError as error:
            if error.code < 500 and error.code not in (408, 416, 429):
                raise WorkError(
                    f"{known.url} answers {error.code} {cut(error.reason)}; likely fix: fetch the "
                    "file by hand, or give another place of it by --url"
                ) from None
            if error.code == 416:  # what is here is more than there is there
                part.unlink(missing_ok=True)
            why = f"it answers {error.code}"
        except (OSError, http.client.HTTPException) as error:
            why = cut(getattr(error, "reason", None) or error) or type(error).__name__
        failed = 0 if _size(part) > before else failed + 1
        if _size(part) < known.size and failed >= _TRIES:
            raise WorkError(
                f"{known.url} cannot be fetched ({why}); {_size(part):,} of {known.size:,} bytes "
                "are here and kept: the same command goes on from there"
            )
        if _size(part) < known.size and failed:
            time.sleep(pause * failed)
    found = _sha256(part)
    if found != known.sha256:
        _forget(part)
        raise WorkError(
            f"what came from {known.url} is not the file that is known: its SHA-256 is {found}, "
            f"not {known.sha256}; it was removed; likely fix: the same command again, or another "
            "place of the file by --url"
        )
    part.replace(path)
    sync_folder(path.parent)
    _forget(part)


def check_room(folder: Path, needed: int, what: str) -> None:
    """Raise :class:`WorkError` where a disk has less room than ``needed`` bytes."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise WorkError(
            f"{what} needs {needed:,} bytes of room, and {folder} has {free:,}; likely fix: make "
            "room, or name another folder by --to"
        )


def _continue(known: Known, part: Path, progress: Progress) -> None:
    """Fetch what is not there yet, as far as the connection lasts."""
    have, stamp = _size(part), _stamp(part)
    request = urllib.request.Request(known.url, headers={"User-Agent": "normbench"})
    if have:
        request.add_header("Range", f"bytes={have}-")
        if stamp:
            request.add_header("If-Range", stamp)
    with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer:
        start = _check(answer, have, known)
        _note(part, answer)
        with part.open("r+b" if start else "wb") as file:
            file.seek(start)
            file.truncate()
            try:
                while start < known.size:
                    piece = answer.read(min(_PIECE, known.size - start))
                    if not piece:
                        return
                    file.write(piece)
                    start += len(piece)
                    progress(start, known.size)
            finally:
                file.flush()
                os.fsync(file.fileno())


def _check(answer: Any, have: int, known: Known) -> int:
    """From which byte on an answer goes; raises where it is of another file."""
    kind = answer.headers.get_content_type()
    if kind.startswith("text/"):
        raise _StrayError(f"it is {kind}, a page and not an archive")
    length = answer.headers.get("Content-Length")
    total = int(length) if length and length.isdigit() else None
    start = 0
    if answer.status == 206:
        start, total = _range(answer.headers.get("Content-Range", ""))
        if start != have:
            raise _StrayError(f"asked for what follows byte {have:,}, it gives that from {start:,}")
    if total is not None and total != known.size:
        raise _StrayError(f"it has {total:,} bytes, not {known.size:,}")
    return start


def _range(text: str) -> tuple[int, int | None]:
    """The first byte and the whole length of ``bytes 5-9/10``."""
    try:
        unit, _, rest = text.partition(" ")
        span, _, whole = rest.partition("/")
        if unit != "bytes":
            raise ValueError(text)
        return int(span.partition("-")[0]), None if whole == "*" else int(whole)
    except ValueError:
        raise _StrayError(f"it gives a part and says of which by {cut(text)!r}") from None


def _note_file(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _note(part: Path, answer: Any) -> None:
    """Keep what tells this version of the file from others, for the next request."""
    tag = answer.headers.get("ETag", "")
    stamp = answer.headers.get("Last-Modified", "") if tag.startswith("W/") or not tag else tag
    _note_file(part).write_text(json.dumps(stamp), encoding="utf-8")


def _stamp(part: Path) -> str:
    try:
        found = json.loads(_note_file(part).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ""
    return found if isinstance(found, str) and found.isprintable() else ""


def _forget(part: Path) -> None:
    part.unlink(missing_ok=True)
    _note_file(part).unlink(missing_ok=True)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
