"""How a sweep ended: success is counted, and not inferred."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from normbench.plan.spec import RunSpec
from normbench.results.store import Store


@dataclass
class Summary:
    """How a sweep ended."""

    folder: Path
    computed: int = 0
    interrupted: bool = False
    by_status: dict[str, int] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    untimed: bool = False
    #: Chosen runs that are not there at the end, for which reason: failed, waiting for a learning
    #: rate, or missing.
    unfinished: dict[str, int] = field(default_factory=dict)
    #: Runs that were to be computed anew and failed: their earlier results are kept.
    not_renewed: int = 0
    #: Runs of which results were committed.
    committed: set[str] = field(default_factory=set)
    #: Wall-clock seconds: ``start`` until runs were chosen, ``form`` (measuring how to compute
    #: them), ``compute``, and ``merge``.
    seconds: dict[str, float] = field(default_factory=dict)

    def spend(self, what: str, since: float) -> float:
        """Add the seconds from ``since`` until now to a part; returns the present moment."""
        now = time.perf_counter()
        self.seconds[what] = round(self.seconds.get(what, 0.0) + now - since, 3)
        return now


def count(
    summary: Summary, store: Store, runs: Sequence[RunSpec], chosen: Sequence[RunSpec]
) -> None:
    """Say how the planned runs stand, and count the chosen ones that are not there: read anew."""
    store.check_held()
    table = store.read("runs", ["run_hash", "planned", "status", "error"]).to_pylist()
    wanted = {run.run_hash for run in runs}
    rows = [row for row in table if row["planned"] and row["run_hash"] in wanted]
    summary.by_status = dict(Counter(row["status"] for row in rows))
    there = {row["run_hash"]: row for row in rows}
    failed = []
    for run in {run.run_hash: run for run in chosen}.values():
        row = there.get(run.run_hash, {"status": "missing"})
        if row["status"] == "failed":
            failed.append(row["error"])
        elif row["status"] == "missing":
            untuned = run.cell.learning_rate is None
            reason = "waiting for a learning rate" if untuned else "missing"
            summary.unfinished[reason] = summary.unfinished.get(reason, 0) + 1
    if failed:
        summary.unfinished["failed"] = len(failed)
    errors = Counter(failed)
    errors.update(f"{error} (computed anew; the earlier results are kept)"
                  for error in summary.failures)  # fmt: skip
    summary.failures = [f"{count} × {error}" for error, count in errors.most_common(10)]
