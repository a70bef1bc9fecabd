"""How much of a sweep's work is done, for the time left."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def weights_of(groups: Sequence[Any]) -> dict[str, float]:
    """The share of all groups' work that each run is, by the seconds that were measured.

    Groups planned in an earlier start were measured there: their runs count as the mean of those
    whose seconds are known, or all alike.
    """
    known = [group.seconds / len(group.runs) for group in groups if group.seconds]
    mean = sum(known) / len(known) if known else 1.0
    found = {
        run.run_hash: group.seconds / len(group.runs) if group.seconds else mean
        for group in groups
        for run in group.runs
    }
    total = sum(found.values())
    return {run_hash: seconds / total for run_hash, seconds in found.items()}


def share_done(ahead: dict[str, float], under_way: Sequence[Any]) -> float:
    """The share of all work that is done, given the runs ahead and their shares.

    Groups that other workers began before count as half done: it is not known how far they are.
    """
    begun = sum(ahead.get(run.run_hash, 0.0) for group in under_way for run in group.runs)
    return 1 - sum(ahead.values()) + begun / 2
