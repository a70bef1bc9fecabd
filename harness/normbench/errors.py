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
        text = f"{self.path}: {self.rule}"
        if self.value:
            text += f"\n    received: {self.value}"
        if self.hint:
            text += f"\n    likely fix: {self.hint}"
        return text


class ProtocolError(UsageError):
    """All faults of one protocol, reported together."""

    def __init__(self, source: str, faults: list[Fault]) -> None:
        self.source = source
        self.faults = faults
        count = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
        lines = "\n".join(f"  {i}. {fault}" for i, fault in enumerate(faults, 1))
        super().__init__(f"{source}: {count}\n{lines}")
