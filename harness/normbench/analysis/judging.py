"""Verdicts on what changed between two result sets, over all matched cells at once.

Two families are declared, each at the level α. That something **changed** is tested for every
matched cell and endpoint by paired sign flips, corrected jointly: step-down max-T where all have
the same seeds, else Holm. That something is **equal** is claimed only against a margin that a
protocol declares, by two one-sided tests, corrected by Holm.

Sources: Westfall and Young (1993), Romano and Wolf (2005), Holm (1979), Schuirmann (1987).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from normbench.analysis import reasons
from normbench.analysis.changes import Change
from normbench.analysis.endpoints import key_columns
from normbench.analysis.rows import FAMILY_COLUMNS, caveat_columns, number, verdict_row
from normbench.stats.checks import MIN_SEEDS
from normbench.stats.refusals import MOST_LOST, Correction, few_seeds
from normbench.stats.result import Caveat
from normbench.stats.verdict import ClaimData, Verdict, judge_family

#: Margins that protocols declare, by experiment and metric.
Margins = Mapping[tuple[str, str], float]
CHANGES = [
    "cell", "experiment", "setting", "norm", "batch_size", "endpoint", "threshold", "metric",
    "mean_a", "mean_b", "estimate", "low", "high", "level", "simultaneous_low",
    "simultaneous_high", "p", "adjusted_p", "n", "diverged_a", "diverged_b", "margin", "equal_p",
    "verdict", "refusal", "warnings", "caveats",
]  # fmt: skip
_NUMBERS = ["low", "high", "p"]
_DIRECTIONS: dict[str, Literal["better", "worse"]] = {
    "better": "better", "better, within the margin": "better",
    "worse": "worse", "worse, within the margin": "worse",
}  # fmt: skip


@dataclass(frozen=True)
class Judged:
    """The table of all changes with their verdicts, and how the families were made."""

    table: pd.DataFrame
    method: Correction
    tested: int
    equal_tested: int
    notes: tuple[Caveat, ...]


def judge_changes(changes: Sequence[Change], margins: Margins, alpha: float) -> Judged:
    """The verdict on every change; positive effects mean that B is better.

    Changes without any difference, with fewer than 6 seeds or of different environments are in
    no family: nothing in the signs of their differences decides that, so the tests stay exact.
    """
    fit = [not (c.refusal or c.apart or few_seeds(len(c.seeds))) for c in changes]
    first = [i for i, c in enumerate(changes) if fit[i] and not c.still]
    second = [
        i for i, c in enumerate(changes)
        if fit[i] and not c.identical and c.endpoint == "final" and _margin(c, margins)
    ]  # fmt: skip
    ready, method, notes = _blocks([changes[i] for i in first])
    claims = [
        ClaimData(str(i), "superiority", c.d, diverged=int(c.diverged_a.sum() + c.diverged_b.sum()))
        for i, c in zip(first, ready, strict=True)
    ]
    judged = judge_family(claims, method=method, alpha=alpha) if claims else ()
    equal_claims = [
        ClaimData(str(i), "equivalence", changes[i].d, _margin(changes[i], margins)) for i in second
    ]
    equal = judge_family(equal_claims, method="holm", alpha=alpha) if equal_claims else ()
    by_change = dict(zip(first, zip(ready, judged, strict=True), strict=True))
    by_equal = dict(zip(second, equal, strict=True))
    rows = []
    for i, change in enumerate(changes):
        used, verdict = by_change.get(i, (change, None))
        margin = _margin(change, margins) if change.endpoint == "final" else 0.0
        rows.append(_row(used, verdict, by_equal.get(i), margin, alpha))
    return Judged(pd.DataFrame(rows, columns=CHANGES), method, len(first), len(second), notes)


def direction(verdict: str) -> Literal["better", "worse", ""]:
    """In which direction a verdict says that something changed; empty where it does not."""
    return _DIRECTIONS.get(verdict, "")


def _margin(change: Change, margins: Margins) -> float:
    sides = (change.match.a.cell, change.match.b.cell)
    found = [margins.get((cell.experiment, cell.metric), 0.0) for cell in sides]
    return min((margin for margin in found if margin), default=0.0)


def _blocks(changes: Sequence[Change]) -> tuple[list[Change], Correction, tuple[Caveat, ...]]:
    """The changes over the seeds that all have, for max-T; else as they are, for Holm.

    Leaving out more than max(1, 10 %) of any one's seeds would cost more than Holm does.
    """
    if not changes:
        return [], "max-t", ()
    shared = [s for s in changes[0].seeds if all(s in c.seeds for c in changes)]
    most = max(len(c.seeds) for c in changes)
    if len(shared) < MIN_SEEDS or most - len(shared) > max(1.0, MOST_LOST * most):
        return list(changes), "holm", (reasons.own_seeds(),)
    gone = sorted({s for c in changes for s in c.seeds} - set(shared))
    notes = (reasons.left_out(gone),) if gone else ()
    return [c.over(shared) for c in changes], "max-t", notes


def _row(
    change: Change, verdict: Verdict | None, equal: Verdict | None, margin: float, alpha: float
) -> dict[str, Any]:
    """A change as columns of the table."""
    refusal = change.refusal or change.apart
    if verdict is not None:
        row = verdict_row(verdict, change.notes)
        if np.isnan(row["simultaneous_low"]):  # it is the only comparison
            row |= {"simultaneous_low": row["low"], "simultaneous_high": row["high"]}
        refusal = row["refusal"]
    else:
        row = dict.fromkeys([*_NUMBERS, *FAMILY_COLUMNS], np.nan) | caveat_columns(change.notes)
        if not refusal and not change.still:
            refusal = few_seeds(len(change.seeds)) or ""
    equal_p = np.nan if equal is None else number(equal.adjusted_p)
    read = bool(change.seeds)
    return row | key_columns(change.match.a.cell) | {
        "cell": change.match.a.cell.cell_hash,
        "endpoint": change.endpoint,
        "threshold": np.nan if change.threshold is None else change.threshold,
        "metric": change.match.a.cell.metric,
        "mean_a": float(change.a.mean()) if read else np.nan,
        "mean_b": float(change.b.mean()) if read else np.nan,
        "estimate": float(change.d.mean()) if read else np.nan,
        "level": 1 - alpha if row["low"] == row["low"] else np.nan, "n": len(change.seeds),
        "diverged_a": int(change.diverged_a.sum()), "diverged_b": int(change.diverged_b.sum()),
        "margin": margin or np.nan, "equal_p": equal_p,
        "verdict": _said(change, verdict, equal, refusal),
        "refusal": refusal,
    }  # fmt: skip


def _said(change: Change, verdict: Verdict | None, equal: Verdict | None, refusal: str) -> str:
    """The verdict in a word."""
    if change.identical:
        return "identical"
    if change.apart and not change.refusal:
        return "described only"
    within = equal is not None and equal.outcome == "supported"
    outcome = verdict.outcome if verdict is not None else "inconclusive"
    if outcome != "inconclusive":
        word = "better" if outcome == "supported" else "worse"
        return f"{word}, within the margin" if within else word
    if within:
        return "equal"
    if change.refusal:
        return "not compared"
    return "not decidable" if refusal else "no change shown"
