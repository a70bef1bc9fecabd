"""Errors that a user can mend, each with the exit status it ends a command with.

Every message says the rule, what was received and the likely fix. Anything that is
raised and is not one of these is a bug and keeps its traceback.
"""

from __future__ import annotations

from dataclasses import dataclass


class NormbenchError(Exception):
    """Base of all errors that are the input's or the environment's doing."""

    exit_status = 1


class UsageError(NormbenchError):
    """The request itself is wrong: nothing was started (exit status 2)."""

    exit_status = 2


class WorkError(NormbenchError):
    """The request was right and the work failed (exit status 1)."""


class DataMissingError(UsageError):
    """A data set is not on this machine; the message says how to get it."""


class ResultsError(UsageError):
    """A results folder cannot be used: another protocol's, newer, or damaged."""


class NewerResultsError(ResultsError):
    """A newer normbench wrote these results: they are whole, and nothing here may touch them."""


class UnreadableResultsError(ResultsError):
    """The system withholds a stored file: it may be whole, and nothing here may replace it."""


class UndefinedError(NormbenchError):
    """A configuration has no meaning at this shape: recorded as ``undefined``, never raised far."""


class ComponentError(WorkError):
    """A component of another package raised: its error and place, recorded as ``failed``."""


class StatisticsError(UsageError, ValueError):
    """Numbers that a statistical procedure cannot take."""


@dataclass(frozen=True)
class Fault:
    """One fault of a protocol: where it is, what stands there, which rule it breaks, what helps."""

    path: str
    value: str
    rule: str
    hint: str = ""

    def __str__(self) -> str:
        text = f"{_cut(self.path)}: {_cut(self.rule)}"
        if self.value:
            text += f"\n    received: {_cut(self.value)}"
        if self.hint:
            text += f"\n    likely fix: {_cut(self.hint)}"
        return text


def _cut(text: str, most: int = 1500) -> str:
    """A text without what of it nobody reads: names and values may have megabytes."""
    return text if len(text) <= most else f"{text[:most]}… ({len(text) - most:,} more characters)"


#: Faults that an error lists; how many more there are it says.
_LISTED = 30


class ProtocolError(UsageError):
    """All faults of one protocol, reported together; ``more`` were found and are not described."""

    def __init__(self, source: str, faults: list[Fault], more: int = 0) -> None:
        self.source = source
        self.faults = faults
        found = len(faults) + more
        count = "1 fault" if found == 1 else f"{found:,} faults"
        lines = [f"  {i}. {fault}" for i, fault in enumerate(faults[:_LISTED], 1)]
        if found > len(lines):
            lines.append(f"  … and {found - len(lines):,} more")
        super().__init__("\n".join([f"{source}: {count}", *lines]))
