"""Output that ends nothing: neither a character that a terminal lacks nor a reader who has left.

What is printed comes from protocols, packages and file names: control characters in it, which
could steer a terminal, are shown as escapes.
"""

from __future__ import annotations

import codecs
import contextlib
import io
import os
import re
import select
import sys
from pathlib import Path
from typing import Any

#: How signs that a table or sentence of ours uses are written where there is nothing but ASCII.
_SIMPLER = {
    "–": "-", "—": "-", "−": "-", "‑": "-", "…": "...", "→": "->", "×": "x", "·": "*", "≤": "<=",
    "≥": ">=", "±": "+-", "≈": "~", "“": '"', "”": '"', "‘": "'", "’": "'", "\u00a0": " ",
    "\u2009": " ", "\u202f": " ",
}  # fmt: skip
#: Control characters but tab and line feed, and those that turn the direction of text.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
#: Of these, what nothing of ours prints: rich needs the carriage return and ``ESC [``.
_FOREIGN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f-\x9f]|\x1b(?!\\[)")
_ERRORS = "normbench"
_MOST = 20_000


def _escaped(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode("ascii")


def plain(text: str) -> str:
    """The text with escapes such as ``\\x1b`` in place of control characters."""
    return _CONTROL.sub(_escaped, text)


def bounded(text: str) -> str:
    """The start of a text that is too long for a person."""
    left = len(text) - _MOST
    return text if left <= 0 else f"{text[:_MOST]}… ({left:,} more characters)"


def say(text: str, *, err: bool = False, end: str = "\n") -> None:
    """Print a text, to standard error if asked to."""
    print(plain(text), file=sys.stderr if err else sys.stdout, end=end)


def _simpler(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return "".join(_SIMPLER.get(c) or _ascii(c) for c in lacking), error.end


def _ascii(character: str) -> str:
    return character.encode("ascii", "backslashreplace").decode("ascii")


codecs.register_error(_ERRORS, _simpler)


class _Sink(io.RawIOBase):
    """A descriptor that can always be written to; what nobody takes any more is dropped."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._gone = False
        #: Why output was lost; None too where the reader has left, who wants no more.
        self.lost: OSError | None = None

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def write(self, data: Any) -> int:
        while not self._gone:
            try:
                return os.write(self._descriptor, data)
            except BlockingIOError:  # another process made it so
                select.select([], [self._descriptor], [])
            except BrokenPipeError:
                self._gone = True
            except OSError as error:
                self._gone, self.lost = True, error
        return len(data)


class _Output(io.TextIOWrapper):
    def write(self, text: str) -> int:
        return super().write(_FOREIGN.sub(_escaped, text))


def prepare() -> None:
    """Let standard output and error of this process take whatever is printed."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed by whoever started us
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115
            continue
        if isinstance(stream, _Output):
            continue
        try:
            sink = _Sink(stream.fileno())
        except (OSError, ValueError):  # no file: a test's, or a notebook's
            with contextlib.suppress(AttributeError, ValueError):
                stream.reconfigure(errors=_ERRORS)
            continue
        stream.flush()
        output = _Output(
            io.BufferedWriter(sink), stream.encoding, _ERRORS,
            line_buffering=stream.line_buffering, write_through=name == "stderr",
        )  # fmt: skip
        setattr(sys, name, output)


def lost() -> OSError | None:
    """Why output could not be written, if that happened; a reader who left is no reason."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, _Output):
            stream.flush()
            sink = getattr(stream.buffer, "raw", None)
            if isinstance(sink, _Sink) and sink.lost is not None:
                return sink.lost
    return None
