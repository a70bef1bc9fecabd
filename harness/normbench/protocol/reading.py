"""A protocol file's bytes as a document, whatever the file is: within bounds, or refused."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from normbench.errors import Fault, ProtocolError, UsageError

#: A protocol of 1,000 claims has a quarter of a megabyte.
MAX_BYTES = 4 * 2**20
#: Tables and lists inside each other; a protocol has six.
MAX_DEPTH = 32
#: Keys of a table; the schema knows some forty.
MAX_KEYS = 1000
#: Values in all, tables and lists among them.
MAX_VALUES = 200_000


def read_text(path: Path) -> str:
    """The text of a file, a pipe or a device; of one without end no more than the bound is read.

    Raises :class:`UsageError` where it cannot be read or is too long, and
    :class:`ProtocolError` where it is no text.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise UsageError(f"cannot read the protocol {path}: {error.strerror}") from None
    if len(content) > MAX_BYTES:
        raise UsageError(
            f"a protocol has at most {MAX_BYTES:,} bytes; {path} has more; likely fix: name the "
            "protocol itself (results and data are none), or write axes as lists instead of many "
            "experiments"
        )
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        rule = f"a protocol is UTF-8 text; byte {error.start} is not"
        raise ProtocolError(
            str(path), [Fault("(encoding)", "", rule, "save it as UTF-8")]
        ) from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def document_of(text: str, source: str) -> dict[str, Any]:
    """The TOML document of a text; raises :class:`ProtocolError` where it is none, or absurd."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        rule = f"this is not valid TOML: {error}"
    except RecursionError:
        rule = "this is not valid TOML: its values are nested too deeply"
    except ValueError as error:  # such as a number of 5,000 digits
        rule = f"this cannot be read as TOML: {str(error).split(';')[0]}"
    else:
        found = _absurd(document)
        if found is None:
            return document
        raise ProtocolError(source, [found])
    raise ProtocolError(source, [Fault("(syntax)", "", rule)])


def _absurd(document: dict[str, Any]) -> Fault | None:
    """The fault of a document that no schema need look at: too deep, or tables too large."""
    level: list[Any] = [document]
    count = 0
    for _ in range(MAX_DEPTH):
        for value in level:
            if isinstance(value, dict) and len(value) > MAX_KEYS:
                some = ", ".join(key[:40] + "…" * (len(key) > 40) for key in [*value][:5])
                rule = f"a table has {len(value):,} keys; at most {MAX_KEYS:,} are allowed"
                return Fault("(the whole file)", f"{some}, …", rule, "is this the right file?")
        count += sum(map(len, level))
        if count > MAX_VALUES:
            rule = f"it has more than {MAX_VALUES:,} values; no protocol needs that many"
            return Fault("(the whole file)", "", rule, "is this the right file?")
        level = [
            inner
            for value in level
            for inner in (value.values() if isinstance(value, dict) else value)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return None
    rule = f"its values are nested too deeply: at most {MAX_DEPTH} tables and lists in each other"
    return Fault("(the whole file)", "", rule, "is this the right file?")
