"""Names of studies: as they were written, and the folders and pages that are called after them."""

from __future__ import annotations

import hashlib
import os
import unicodedata
from pathlib import Path

#: Bytes of the readable part of a folder's name; file systems allow 255 for a name with endings.
_MOST_BYTES = 100
#: What Windows takes for a device, whatever the ending.
_DEVICES = {
    "con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(10)),
}  # fmt: skip


def spelled(text: str) -> str:
    """A text in Unicode's composed form (NFC), control characters and stray bytes as escapes.

    Both forms of é are the same name: which one a file has depends on the system it came from.
    """
    whole = os.fsencode(text).decode("utf-8", "backslashreplace")
    composed = unicodedata.normalize("NFC", whole)
    return "".join(f"\\x{ord(c):02x}" if is_control(c) else c for c in composed)


def is_control(character: str) -> bool:
    """Whether a character controls a terminal, or ends a line, instead of being seen."""
    return unicodedata.category(character) in ("Cc", "Zl", "Zp")


def declared_name(name: str) -> str:
    """The name that a protocol gives its study; ``ValueError`` where it cannot be seen."""
    found = [c for c in name if is_control(c)]
    if found or not name.strip():
        received = f"; it holds U+{ord(found[0]):04X}" if found else "; it is blank"
        raise ValueError(f"must be text without control characters or line ends{received}")
    return spelled(name)


def study_name(path: Path) -> str:
    """The name of a study that says none itself: its file's, without the ending, as written."""
    return spelled(path.stem)


def folder_name(name: str) -> str:
    """What a study's folder of results and its page are called.

    A name of small letters (of any script), digits, ``-`` and ``_`` stays as it is. Any other is
    made readable and gets a dot and eight digits of its hash, so that names that differ give
    folders that differ, on file systems too that take capitals for small letters.
    """
    if _is_plain(name):
        return name
    readable = "".join(c if _is_named(c) else "-" for c in name)
    kept = readable.encode()[:_MOST_BYTES].decode(errors="ignore").strip("-_")
    mark = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{kept or 'study'}.{mark}"


def _is_named(character: str) -> bool:
    return unicodedata.category(character)[0] in "LMN" or character in "-_"


def _is_plain(name: str) -> bool:
    """Whether a folder can have the name itself, and no other name is equal to it there."""
    if not name or name in _DEVICES or len(name.encode()) > _MOST_BYTES:
        return False
    return name[0].isalnum() and all(map(_is_named, name)) and _is_caseless(name)


def _is_caseless(name: str) -> bool:
    """Whether no other name is equal to it for a file system that ignores case or forms."""
    plain = unicodedata.normalize("NFKC", name)
    return plain == name == name.casefold() == name.upper().lower()
