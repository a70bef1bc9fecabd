"""A digest of a whole parquet file, inside the file.

Parquet's own checksums are of its pages; its footer, which says what they mean, has none. The
digest stands between the last page and the footer, where readers of parquet never look: a file and
its digest are renamed in one step, and copied together. It is of all other bytes of the file.
"""

from __future__ import annotations

import hashlib
import os
from typing import IO

_MARK = b"normbench sha256"
_LENGTH = len(_MARK) + hashlib.sha256().digest_size
_TAIL = 8  # the footer's length and the letters PAR1
_CHUNK = 1 << 20


def seal(file: IO[bytes]) -> None:
    """Put the digest into a parquet file that was just written, and is open for both."""
    start = _footer(file)
    digest = _digest(file, start, start)
    file.seek(start)
    footer = file.read()
    file.seek(start)
    file.write(_MARK + digest + footer)


def fits(file: IO[bytes]) -> bool | None:
    """Whether a parquet file is what was written; None where it holds no digest.

    Those of older versions do not. The file is at its start afterwards.
    """
    start = _footer(file)
    file.seek(max(0, start - _LENGTH))
    stored = file.read(_LENGTH)
    whole = None
    if start >= _LENGTH and stored.startswith(_MARK):
        whole = stored[len(_MARK) :] == _digest(file, start - _LENGTH, start)
    file.seek(0)
    return whole


def _footer(file: IO[bytes]) -> int:
    """Where the footer starts; what is no place in the file is for the reader to refuse."""
    size = file.seek(0, os.SEEK_END)
    if size < _TAIL:
        return 0
    file.seek(size - _TAIL)
    length = int.from_bytes(file.read(4), "little")
    return max(0, size - _TAIL - length)


def _digest(file: IO[bytes], end: int, start: int) -> bytes:
    """Of the bytes up to ``end`` and those from ``start``."""
    found = hashlib.sha256()
    file.seek(0)
    left = end
    while left and (chunk := file.read(min(left, _CHUNK))):
        found.update(chunk)
        left -= len(chunk)
    file.seek(start)
    while chunk := file.read(_CHUNK):
        found.update(chunk)
    return found.digest()
