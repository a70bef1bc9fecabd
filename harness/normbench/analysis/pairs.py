"""Every norm against every other at the same batch size, as one family of comparisons."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pandas as pd

from normbench.analysis.boundary import reason
from normbench.analysis.cells import CellCurves, Grid
from normbench.analysis.endpoints import final_values
from normbench.analysis.findings import budget_of, finding_row
from normbench.analysis.pairing import Pairing, pair, usable
from normbench.analysis.reasons import FINAL_DIFFERENCE, lower_error
from normbench.analysis.rows import FAMILY_COLUMNS, RESULT_COLUMNS, refused_row
from normbench.errors import StatisticsError
from normbench.stats.automatic import Budget
from normbench.stats.compare import paired_difference
from normbench.stats.rounding import difference
from normbench.stats.verdict import ClaimData, judge_family

KEYS = ["experiment", "setting", "batch_size", "norm", "other"]
COLUMNS = [*KEYS, "finding", *RESULT_COLUMNS, *FAMILY_COLUMNS, "family", "diverged",
           "diverged_other"]  # fmt: skip
#: Of more batch sizes than these, this many are compared: the ends, and evenly spaced ones between.
MOST_SIZES = 8


def spread(sizes: list[int], most: int = MOST_SIZES) -> list[int]:
    """At most ``most`` of the sizes: the ends, and evenly spaced ones between them."""
    if len(sizes) <= most:
        return sizes
    places = np.unique(np.linspace(0, len(sizes) - 1, most).round().astype(int))
    return [sizes[i] for i in places]


def _panel(panel: Grid, alpha: float, budget: Budget) -> list[dict[str, Any]]:
    sizes = spread(panel.batch_sizes)
    cells = [c for c in panel.cells.values() if c.batch_size in sizes and usable(c)]
    pairs = [
        (a, b)
        for a, b in itertools.combinations(range(len(cells)), 2)
        if cells[a].batch_size == cells[b].batch_size
    ]
    pairs.sort(key=lambda p: cells[p[0]].batch_size)
    if not pairs:
        return []
    used = sorted({i for both in pairs for i in both})
    pairing = pair([cells[i] for i in used], panel.series.seeds)
    keys = [
        {
            "experiment": panel.series.name, "setting": panel.setting.text,
            "batch_size": cells[a].batch_size, "norm": cells[a].norm, "other": cells[b].norm,
            "family": len(pairs), "finding": "undecided", "fragile": False,
        }
        for a, b in pairs
    ]  # fmt: skip
    if pairing.refusal:
        refused = refused_row(pairing.refusal, FINAL_DIFFERENCE)
        return [key | refused for key in keys]
    picks = dict(zip(used, pairing.picks, strict=True))
    try:
        return _judged(panel, cells, pairs, keys, picks, pairing, alpha, budget)
    except StatisticsError as error:
        refused = refused_row(reason(error), FINAL_DIFFERENCE)
        return [key | refused for key in keys]


def _judged(
    panel: Grid, cells: list[CellCurves], pairs: list[tuple[int, int]],
    keys: list[dict[str, Any]], picks: dict[int, list[int]], pairing: Pairing,
    alpha: float, budget: Budget,
) -> list[dict[str, Any]]:  # fmt: skip
    ends = {i: final_values(cells[i], panel.series.window) for i in picks}
    values = {i: ends[i].values[pick] for i, pick in picks.items()}
    lost = {i: int(ends[i].diverged[pick].sum()) for i, pick in picks.items()}
    claims = [
        ClaimData(
            f"{cells[a].norm} against {cells[b].norm}", "superiority",
            difference(values[b], values[a]), diverged=lost[a] + lost[b],
            estimand=lower_error(cells[a].norm, cells[b].norm),
        )
        for a, b in pairs
    ]  # fmt: skip
    verdicts = judge_family(claims, method="max-t", alpha=budget.pairs)
    rows = []
    for key, (a, b), claim, verdict in zip(keys, pairs, claims, verdicts, strict=True):
        alone = paired_difference(
            claim.d, alpha=alpha, diverged=claim.diverged, estimand=claim.estimand or ""
        )
        found = finding_row(verdict, alone, pairing.notes, ("better", "worse"))
        counts = {"diverged": lost[a], "diverged_other": lost[b]}
        rows.append(key | found | counts)
    return rows


def pair_table(panels: list[Grid], alpha: float) -> pd.DataFrame:
    """All pairs of norms at each batch size, by final error; positive: the norm is better.

    The pairs of one experiment and setting are one family, judged by max-T at half of the error
    rate of what is said without a claim (:class:`~normbench.stats.automatic.Budget`): ``finding``
    is that of ``adjusted_p``, ``low`` and ``high`` are of the comparison alone, at ``level``. Of
    more than ``MOST_SIZES`` batch sizes, that many are compared; the table ``comparisons`` has the
    rest.
    """
    budgets = budget_of(panels, alpha)
    rows = [row for panel in panels for row in _panel(panel, alpha, budgets[panel.series.name])]
    return pd.DataFrame(rows, columns=COLUMNS)
