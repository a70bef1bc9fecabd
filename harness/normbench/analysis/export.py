"""Tables as CSV, in which no text is taken for a formula by whatever opens the file."""

from __future__ import annotations

import re
from typing import Any

import pandas as pd

#: What spreadsheets begin a formula with, and white space that they skip before one.
_FORMULA = re.compile(r"[\t\r\n ]*[=+\-@\uff1d\uff0b\uff0d\uff20]")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def harmless(value: Any) -> Any:
    """A text that would be a formula with an apostrophe before it; anything else as it is.

    Names of norms, files and classes come from protocols and data: one such as ``=HYPERLINK(…)``
    would be computed by a spreadsheet. A text that is a number is one there too.
    """
    if isinstance(value, str) and _FORMULA.match(value) and not _NUMBER.fullmatch(value):
        return f"'{value}"
    return value


def to_csv(table: pd.DataFrame, **options: Any) -> str:
    """A table as CSV, without its index; ``options`` are those of pandas."""
    texts = [name for name in table if not pd.api.types.is_numeric_dtype(table[name])]
    safe = table.assign(**{str(name): table[name].map(harmless) for name in texts})
    safe = safe.rename(columns=harmless)
    return str(safe.to_csv(index=False, lineterminator="\n", **options))
