"""Stored runs that a protocol no longer asks for: counted, and refused to lose, before anything."""

from __future__ import annotations

from dataclasses import dataclass

from normbench.errors import (
    NewerResultsError,
    ResultsError,
    UnreadableResultsError,
    UsageError,
)
from normbench.plan.spec import RunSpec
from normbench.protocol.study import Study
from normbench.results.schema import DONE
from normbench.results.store import Store


@dataclass(frozen=True)
class Unplanned:
    """How many computed runs are stored, and how many of them the present protocol leaves out.

    ``changed`` says whether the protocol is another than the one of the last run here, or cannot
    be told to be the same. ``stored`` is None where the table cannot be read.
    """

    stored: int | None
    left: int
    changed: bool

    @property
    def everything(self) -> bool:
        """Whether a changed protocol asks for none of what is there."""
        lost = self.stored is None or 0 < self.left == self.stored
        return self.changed and lost

    def sentence(self) -> str:
        """What is left out, in words; empty where it is nothing."""
        if not self.left:
            return ""
        return (
            f"the protocol leaves {self.left:,} of {self.stored:,} stored runs unplanned: they are "
            "kept, and not used"
        )

    def warning(self) -> str:
        """What ``run`` will do about it; empty where it goes ahead."""
        return "`normbench run` refuses that without --replace" if self.everything else ""


def count_unplanned(store: Store, study: Study, runs: list[RunSpec]) -> Unplanned:
    """Compare what is stored with what ``study`` asks for, ``runs``. Nothing is written."""
    if not store.exists and not store.path("runs").exists():
        return Unplanned(0, 0, changed=False)
    last = last_study(store)
    changed = last is None or last.model_dump() != study.model_dump()
    try:
        table = store.read("runs", ["run_hash", "status"])
    except (NewerResultsError, UnreadableResultsError):
        raise
    except ResultsError:
        return Unplanned(None, 0, changed)
    columns = (table.column(name).to_pylist() for name in ("run_hash", "status"))
    stored = {key for key, status in zip(*columns, strict=True) if status in DONE}
    left = stored - {run.run_hash for run in runs}
    return Unplanned(len(stored), len(left), changed)


def last_study(store: Store) -> Study | None:
    """The protocol of the last run here; None where there was none, or its file is damaged."""
    try:
        return store.read_study()
    except (NewerResultsError, UnreadableResultsError):
        raise
    except ResultsError:
        return None


def refuse_to_lose(store: Store, found: Unplanned) -> None:
    """Raise :class:`UsageError` where all stored runs would be left unplanned."""
    if not found.everything:
        return
    what = (
        f"the table of stored runs in {store.folder} cannot be read, and the protocol has changed"
        if found.stored is None
        else f"the protocol asks for none of the {found.stored:,} runs stored in {store.folder}: "
        "all of them would be left unplanned"
    )
    raise UsageError(
        f"{what}\n    likely fix: if this is another study, give it a folder with --results, or "
        "another name = in [protocol]; if it is to take the place of the stored one, --replace"
    )
