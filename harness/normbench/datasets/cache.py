"""Decoded images kept on disk: made once, checked, and shared by all processes.

A cache file holds the images one after another as uint8, then a footer (JSON) with their shape,
their labels, SHA-256 digests of blocks of whole images and notes on what was left out, then the
footer's own digest, its length and a mark. The images come first so that they can be mapped
into memory; the footer comes last so that nothing but a complete file has one.

What is checked, and when: length, mark and footer every time; all blocks once in each process
that opens the file, whoever started it (2,000 photos of 224 pixels: a fifth of a second). A file
that fails is named in a warning and made again.
"""

from __future__ import annotations

import hashlib
import json
import logging
import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from normbench.datasets.names import printable
from normbench.datasets.whole import cache_folder, cannot_write, whole_file

log = logging.getLogger(__name__)

MARK = b"normbench cache 1\n"
#: Bytes of a block that has its own digest, at most (one image at least).
BLOCK = 1 << 24
_TAIL = 32 + 8 + len(MARK)

#: Takes the next image, of the shape agreed on, and its label.
Append = Callable[[NDArray[np.uint8], int], None]
#: Gives all images to an :data:`Append` and returns notes (JSON) to keep with them. What the
#: note ``skipped`` holds (names of files, and why each was left out) also becomes a text file.
Make = Callable[[Append], dict[str, Any]]


class DamagedCacheError(Exception):
    """A cache file that is not what was written; caught here, it never reaches a user."""


@dataclass(frozen=True)
class Cached:
    """Images of shape (items, *shape), uint8, read-only and mapped from ``path``.

    ``labels`` has shape (items,), int64; ``notes`` is what the maker returned; ``digest`` stands
    for the images (it is made of those of the blocks, with which they were compared).
    """

    path: Path
    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    notes: dict[str, Any]
    digest: str


def is_worker() -> bool:
    """Whether this process was started by another one of this program to work for it."""
    return multiprocessing.parent_process() is not None


def load_or_make(name: str, identity: Any, shape: tuple[int, ...], make: Make) -> Cached:
    """The cached images that ``identity`` (JSON) stands for, made by ``make`` where need be.

    ``name`` begins the file's name, for people. Several processes may ask at once: one makes
    the file, the others wait for it. Raises :class:`~normbench.errors.WorkError` where the
    cache cannot be written, and whatever ``make`` raises; no file is left then.
    """
    text = json.dumps([MARK.decode(), list(shape), identity], sort_keys=True)
    folder = cache_folder()
    path = folder / f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:20]}.images"
    found = _usable(path)
    if found is not None:
        return found
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with locked(path):
            found = _usable(path, warn=True)  # another process may have made it meanwhile
            if found is not None:
                return found
            _write(path, shape, make)
    except OSError as error:
        raise cannot_write(path, error) from error
    return read(path)


def locked(path: Path) -> FileLock:
    """The lock of a file of the cache; that another process holds it is said."""
    lock = FileLock(path.with_name(f"{path.name}.lock"))
    try:
        lock.acquire(timeout=0)
        lock.release()
    except Timeout:
        log.info("waiting for another process that makes %s", path)
    return lock


def _usable(path: Path, warn: bool = False) -> Cached | None:
    try:
        return read(path)
    except FileNotFoundError:
        return None
    except DamagedCacheError as error:
        if warn:
            log.warning("the cache %s is damaged (%s) and is made again", path, error)
        return None


# -- writing ----------------------------------------------------------------------------------


def _write(path: Path, shape: tuple[int, ...], make: Make) -> None:
    labels: list[int] = []
    digests: list[str] = []
    per_block = _images_per_block(shape)
    block = hashlib.sha256()
    with whole_file(path) as file:

        def append(image: NDArray[np.uint8], label: int) -> None:
            nonlocal block
            if image.shape != shape or image.dtype != np.uint8:
                raise ValueError(f"expected uint8 {shape}, received {image.dtype} {image.shape}")
            content = image.tobytes()
            file.write(content)
            block.update(content)
            labels.append(int(label))
            if len(labels) % per_block == 0:
                digests.append(block.hexdigest())
                block = hashlib.sha256()

        notes = make(append)
        _list_skipped(log_beside(path), notes.get("skipped", {}))
        if len(labels) % per_block:
            digests.append(block.hexdigest())
        content = {"shape": [len(labels), *shape], "labels": labels, "blocks": digests,
                   "notes": notes}  # fmt: skip
        footer = json.dumps(content).encode()
        file.write(footer + hashlib.sha256(footer).digest())
        file.write(len(footer).to_bytes(8, "little") + MARK)


def log_beside(path: Path) -> Path:
    """Where the files that a cache leaves out are listed."""
    return path.with_suffix(".skipped.txt")


def _list_skipped(path: Path, skipped: dict[str, str]) -> None:
    if not skipped:
        path.unlink(missing_ok=True)
        return
    # written out, so that no name can break a line or command a terminal
    lines = [f"{printable(n)}\t{printable(reason)}\n" for n, reason in sorted(skipped.items())]
    with whole_file(path) as file:
        file.write("".join(lines).encode())


def _images_per_block(shape: tuple[int, ...]) -> int:
    return max(1, BLOCK // int(np.prod(shape)))


# -- reading ----------------------------------------------------------------------------------

#: Files that this process has checked in full, as they then were.
_checked: set[tuple[str, int, int, int]] = set()


def read(path: Path) -> Cached:
    """Open a cache file; the first time in this process every image is compared with its digest.

    Raises ``FileNotFoundError`` and :class:`DamagedCacheError`.
    """
    try:
        footer, size = _footer(path)
        shape = tuple(footer["shape"])
        images: NDArray[np.uint8] = np.asarray(np.memmap(path, np.uint8, "r", 0, shape))
        labels = np.array(footer["labels"], dtype=np.int64)
        notes, digests = dict(footer["notes"]), list(footer["blocks"])
    except FileNotFoundError:
        raise
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DamagedCacheError(str(error)) from error
    if images.nbytes != size or len(labels) != len(images):
        raise DamagedCacheError("its length does not fit its footer")
    status = path.stat()
    identity = (str(path), status.st_ino, status.st_size, status.st_mtime_ns)
    if identity not in _checked:
        _check_blocks(images, digests)
        _checked.add(identity)
    content = hashlib.sha256(json.dumps([list(shape), digests]).encode()).hexdigest()
    return Cached(path, images, labels, notes, content)


def _footer(path: Path) -> tuple[dict[str, Any], int]:
    """The footer, and the number of bytes of images before it."""
    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        if end < _TAIL:
            raise DamagedCacheError("it is truncated")
        file.seek(end - _TAIL)
        tail = file.read(_TAIL)
        if tail[40:] != MARK:
            raise DamagedCacheError("it is truncated or no cache file")
        start = end - _TAIL - int.from_bytes(tail[32:40], "little")
        if start <= 0:
            raise DamagedCacheError("its footer is cut")
        file.seek(start)
        text = file.read(end - _TAIL - start)
    if hashlib.sha256(text).digest() != tail[:32]:
        raise DamagedCacheError("its footer has changed")
    return json.loads(text), start


def _check_blocks(images: NDArray[np.uint8], digests: list[str]) -> None:
    per_block = _images_per_block(images.shape[1:])

    def same(number: int) -> bool:
        part = images[number * per_block : (number + 1) * per_block]
        return hashlib.sha256(part.data.cast("B")).hexdigest() == digests[number]

    count = -(-len(images) // per_block)
    if count != len(digests):
        raise DamagedCacheError("its digests do not fit its images")
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:  # hashing frees the GIL
        if not all(pool.map(same, range(count))):
            raise DamagedCacheError("images differ from their digests")
