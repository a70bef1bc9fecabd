"""Computing runs anew: each run of the choice once, its earlier results kept until then."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from normbench.plan.decisions import cell_key
from normbench.plan.spec import RunSpec
from normbench.results.schema import DONE

Rows = dict[str, list[dict[str, Any]]]


class Renewal:
    """What an invocation computes although it is there already; nothing where not ``wanted``."""

    def __init__(self, wanted: bool) -> None:
        self.wanted = wanted
        self._begun: set[str] = set()
        self._pending: set[str] = set()
        self._stored: Mapping[str, str] = {}
        self._failed: set[str] = set()

    def seen(self, status: dict[str, str]) -> dict[str, str]:
        """The statuses as this invocation sees them: a result that is to be renewed is missing."""
        if not self.wanted:
            return status
        again = (*DONE, "failed")
        return {
            key: "missing" if state in again and key not in self._begun else state
            for key, state in status.items()
        }

    def first(self, pending: list[RunSpec]) -> list[RunSpec]:
        """Of the pending runs those that come first: tuning runs decide what the others are."""
        tuning = [run for run in pending if run.phase == "tuning"]
        return tuning if self.wanted and tuning else pending

    def begin(self, pending: Iterable[RunSpec], stored: Mapping[str, str]) -> None:
        """Note what is computed now, and how it stood before."""
        self._pending = {run.run_hash for run in pending}
        self._begun |= self._pending
        self._stored = stored

    def to_commit(self, rows: Rows) -> tuple[Rows, list[str]]:
        """The rows that take the place of earlier ones, and the errors of runs that keep theirs.

        Groups are computed as they were planned, whole: of a run that was not chosen the earlier
        rows stay, and so do those of one that failed this time.
        """
        if not self.wanted:
            return rows, []
        kept: dict[str, str] = {}
        left_out = set()
        for row in rows["runs"]:
            key = row["run_hash"]
            if self._stored.get(key) not in DONE:
                continue
            if key not in self._pending:
                left_out.add(key)
            elif row["status"] not in DONE:
                kept[key] = str(row["error"])
        self._failed |= set(kept)
        gone = left_out | set(kept)
        left = {name: [r for r in own if r["run_hash"] not in gone] for name, own in rows.items()}
        return left, list(kept.values())

    def tuned(self, runs: Sequence[RunSpec]) -> set[str]:
        """The keys of the cells of which every tuning run was computed anew."""
        keys: set[str] = set()
        whole = self._begun - self._failed
        others: set[str] = set()
        for run in runs if self.wanted else ():
            if run.phase == "tuning":
                (keys if run.run_hash in whole else others).add(
                    cell_key(run.cell, run.fingerprints)
                )
        return keys - others

    def more(self, chosen: Iterable[RunSpec]) -> bool:
        """Whether chosen runs are still to be computed anew."""
        if not self.wanted:
            return False
        tuned = (run for run in chosen if run.cell.learning_rate is not None)
        return any(run.run_hash not in self._begun for run in tuned)
