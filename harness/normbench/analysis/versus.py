"""Two result sets against each other: which cells answer to which, and what changed.

Sources of the rules: STATISTICS, section 5 (families), 8 (verdicts) and 9 (refusals): runs of
different environments are described and never tested.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import pandas as pd

from normbench.analysis.changes import read_changes
from normbench.analysis.endpoints import KEYS, key_columns
from normbench.analysis.findings import declared_margins
from normbench.analysis.judging import direction, judge_changes
from normbench.analysis.matching import Located, Matching, match_cells
from normbench.analysis.seconds import timings_by_cell
from normbench.analysis.settings import Setting, all_settings
from normbench.analysis.steps import step_table
from normbench.errors import ResultsError
from normbench.results.execution import read_execution
from normbench.results.load import Results
from normbench.stats.refusals import Correction
from normbench.stats.result import Caveat

#: The verdicts on a cell, from those of its endpoints: the first that one of them has.
_ORDER = ("better", "worse", "better, within the margin", "worse, within the margin", "equal",
          "no change shown", "described only", "not decidable", "not compared",
          "identical")  # fmt: skip
_CELLS = ["cell", *KEYS, "experiment_b", "norm_b", "differs", "same_runs", "seeds_a", "seeds_b",
          "verdict"]  # fmt: skip
_UNMATCHED = ["side", "cell", *KEYS, "runs"]


@dataclass(frozen=True)
class Versus:
    """The comparison: its tables by name, and how it was made."""

    tables: dict[str, pd.DataFrame]
    method: Correction
    alpha: float
    tested: int
    equal_tested: int
    notes: tuple[Caveat, ...]
    settings: Mapping[str, Setting] = field(default_factory=dict)

    def counts(self) -> Counter[str]:
        """How many matched cells have each verdict."""
        found: Counter[str] = Counter(self.tables["cells"]["verdict"])
        return found


def compare(a: Results, b: Results) -> Versus:
    """Compare two result sets; positive effects mean that B is better.

    The same results give the same tables. Raises :class:`~normbench.errors.ResultsError` where
    a side has no computed run, or where both share no cell.
    """
    matching = match_cells(a, b)
    if not matching.matches:
        raise ResultsError(
            "two result sets are compared over the cells that both have\n"
            f"    received: {a.folder} with {_few(matching.only_a)}, {b.folder} with "
            f"{_few(matching.only_b)}; none in common\n"
            "    likely fix: name results of the same protocol, or of two versions of it"
        )
    known = {**read_execution(a.folder).environments, **read_execution(b.folder).environments}
    changes = [change for match in matching.matches for change in read_changes(match, known)]
    alpha = min(a.study.alpha, b.study.alpha)
    judged = judge_changes(changes, declared_margins(a.study, b.study), alpha)
    times = [timings_by_cell(results.timings) for results in (a, b)]
    tables = {
        "cells": _cell_table(matching, judged.table),
        "changes": judged.table,
        "unmatched": _unmatched(matching),
        "steps": step_table(matching.matches, times[0], times[1], alpha),
    }
    return Versus(
        tables, judged.method, alpha, judged.tested, judged.equal_tested, judged.notes,
        all_settings(b.runs, b.study) | all_settings(a.runs, a.study),
    )  # fmt: skip


def _cell_table(matching: Matching, changes: pd.DataFrame) -> pd.DataFrame:
    rows = []
    verdicts = changes.groupby(["experiment", "cell"], sort=False)["verdict"].agg(list)
    for match in matching.matches:
        a, b = match.a.cell, match.b.cell
        row = {
            "cell": a.cell_hash,
            "experiment_b": b.experiment,
            "norm_b": b.norm,
            "differs": "; ".join(match.differs),
            "same_runs": match.same_runs,
            "seeds_a": len(a.seeds),
            "seeds_b": len(b.seeds),
            "verdict": _overall(verdicts[(a.experiment, a.cell_hash)]),
        }
        rows.append(key_columns(a) | row)
    return pd.DataFrame(rows, columns=_CELLS)


def _overall(verdicts: list[str]) -> str:
    """The verdict on a cell: mixed if an endpoint is better and another worse."""
    if {"better", "worse"} <= {direction(verdict) for verdict in verdicts}:
        return "mixed"
    return next(word for word in _ORDER if word in verdicts)


def _unmatched(matching: Matching) -> pd.DataFrame:
    rows = [
        key_columns(one.cell)
        | {"side": side, "cell": one.cell.cell_hash, "runs": len(one.cell.seeds)}
        for side, ones in (("A", matching.only_a), ("B", matching.only_b))
        for one in ones
    ]
    return pd.DataFrame(rows, columns=_UNMATCHED)


def _few(cells: list[Located], most: int = 3) -> str:
    """Some of the cells in words."""
    named = [
        f"{c.cell.norm} at batch size {c.cell.batch_size} ({c.axes['dataset']})" for c in cells
    ]
    more = f" and {len(named) - most} more" if len(named) > most else ""
    return ", ".join(named[:most]) + more
