"""Names of files in messages: whatever bytes they hold, and however many there are."""

from __future__ import annotations

from collections.abc import Iterable


def printable(text: object) -> str:
    """A text in which what no terminal should get is written out: ``\\x1b``, ``\\n``, ``\\xff``.

    Names may hold control characters, and bytes that are not UTF-8 (surrogates, to Python).
    """
    return "".join(c if c.isprintable() else _written_out(c) for c in str(text))


def _written_out(character: str) -> str:
    number = ord(character)
    if 0xDC80 <= number <= 0xDCFF:  # how Python keeps a byte that is not UTF-8
        return f"\\x{number - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")


def cut(text: object, most: int = 120) -> str:
    """A text fit for a terminal, and no longer than ``most`` characters."""
    shown = printable(text)
    return shown if len(shown) <= most else f"{shown[: most - 1]}…"


def few_of(names: Iterable[str], most: int = 4) -> str:
    """The first few names, fit for a terminal, and how many more there are."""
    shown = list(names)
    more = f" and {len(shown) - most} more" if len(shown) > most else ""
    return ", ".join(cut(name) for name in shown[:most]) + more
