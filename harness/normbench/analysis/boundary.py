"""A boundary around each item of an analysis or a page: one bad item never ends the others.

What data can do to an item (no logarithm of a time of 0, a threshold that nobody reached) is a
refusal: a reason beside the item, and no failure. Anything else is a bug: said in the item's place,
and told at the end, so that the command fails without losing the rest.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from normbench.errors import NormbenchError, ResultsError

T = TypeVar("T")
U = TypeVar("U")
#: What is about the whole of a command: damaged results, the system, no memory.
_WHOLE = (ResultsError, OSError, MemoryError)


@dataclass
class Boundary:
    """Makes items one by one; ``bugs`` are those that could not be made, each in a line."""

    bugs: list[str] = field(default_factory=list)

    def attempt(self, what: str, make: Callable[[], T], otherwise: Callable[[str], U]) -> T | U:
        """What ``make`` gives, or what ``otherwise`` makes of the reason why it gives nothing.

        ``what`` names the item. Damaged results and errors of the system pass through.
        """
        try:
            return make()
        except _WHOLE:
            raise
        except NormbenchError as error:
            return otherwise(reason(error))
        except Exception as error:
            why = last_line(error)
            self.bugs.append(f"{what} could not be made: {why}")
            return otherwise(why)


def reason(error: Exception) -> str:
    """Why an item cannot be made: the rule, and what was received."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    received = [line for line in lines[1:] if line.startswith("received: ")]
    return "; ".join([lines[0], *received[:1]])


def last_line(error: Exception) -> str:
    """The last line of the traceback, and where the error was raised."""
    said = traceback.format_exception_only(error)[-1].strip()
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    return f"{said}{where}"
