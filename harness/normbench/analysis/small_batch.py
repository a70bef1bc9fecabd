"""What shrinking batches cost each norm, and at which sizes it is worse than the reference."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from normbench.analysis.boundary import reason
from normbench.analysis.cells import CellCurves, Grid
from normbench.analysis.endpoints import final_values
from normbench.analysis.findings import UNDECIDED, budget_of, few_seeds, finding_row
from normbench.analysis.pairing import pair, usable
from normbench.analysis.reasons import CROSSOVER, DEGRADATION, SIZE_MISSING
from normbench.analysis.rows import FAMILY_COLUMNS, RESULT_COLUMNS, ends, refused_row, result_row
from normbench.errors import StatisticsError
from normbench.stats.automatic import Budget, within_from, worse_up_to
from normbench.stats.result import Caveat, Result
from normbench.stats.rounding import difference
from normbench.stats.smallbatch import crossover_batch_size, inverse_batch_contrast
from normbench.stats.verdict import ClaimData, judge_family

KEYS = ["experiment", "setting", "norm", "reference", "smallest", "largest"]
_ENDS = [f"difference_in_differences{end}" for end in ("", "_low", "_high")]
#: What is said of a crossover; both are NaN where nothing is.
LOCATED = ["worse_up_to", "within_from", "margin"]
Floats = NDArray[np.float64]
#: Declared differences that still count as no worse, by experiment and metric.
Margins = Mapping[tuple[str, str], float]


@dataclass(frozen=True)
class _Table:
    """Final errors of norms, shape (seeds, batch sizes) each, over the seeds that all have."""

    norms: Mapping[str, Floats]
    diverged: Mapping[str, int]
    notes: tuple[Caveat, ...]


def _whole(panel: Grid) -> list[str]:
    """The norms that have runs of most seeds at every batch size."""
    cells = panel.cells
    return [
        norm
        for norm in panel.norms
        if all((norm, b) in cells and usable(cells[(norm, b)]) for b in panel.batch_sizes)
    ]


def _read(panel: Grid, norms: list[str]) -> _Table | str:
    """The errors of norms at all batch sizes, or why there are none."""
    sizes = panel.batch_sizes
    cells: list[CellCurves] = [panel.cells[(norm, size)] for norm in norms for size in sizes]
    pairing = pair(cells, panel.series.seeds)
    if pairing.refusal:
        return pairing.refusal
    found = [final_values(cell, panel.series.window) for cell in cells]
    values = [e.values[p] for e, p in zip(found, pairing.picks, strict=True)]
    lost = [int(e.diverged[p].sum()) for e, p in zip(found, pairing.picks, strict=True)]
    k = len(sizes)
    own = {norm: slice(i * k, (i + 1) * k) for i, norm in enumerate(norms)}
    return _Table(
        {norm: np.array(values[at]).T for norm, at in own.items()},
        {norm: sum(lost[at]) for norm, at in own.items()},
        pairing.notes,
    )


def _contrasts(panel: Grid, found: _Table, alpha: float, level: float) -> dict[str, Any]:
    """The rows of the table ``degradation`` by norm: one family at ``level``."""
    base, sizes = panel.series.reference, panel.batch_sizes
    results: dict[str, tuple[Result, int]] = {}
    for norm, errors in found.norms.items():
        if norm != base:
            lost = found.diverged[norm] + found.diverged[base]
            result = inverse_batch_contrast(
                errors, found.norms[base], sizes, goal="min", alpha=alpha,
                diverged=lost, labels=(norm, base),
            )  # fmt: skip
            results[norm] = result, lost
    claims = [
        ClaimData(norm, "superiority", np.array(result.values), diverged=lost)
        for norm, (result, lost) in results.items()
    ]
    verdicts = judge_family(claims, method="max-t", alpha=level) if claims else ()
    rows = {}
    for (norm, (result, lost)), verdict in zip(results.items(), verdicts, strict=True):
        low, high = ends(result.details["difference_in_differences_interval"])
        plain = (result.details["difference_in_differences"], low, high)
        row = finding_row(verdict, result, found.notes, ("worse", "better"))
        rows[norm] = row | dict(zip(_ENDS, plain, strict=True)) | {"diverged": lost}
    return rows


def _located(
    panel: Grid, norm: str, found: _Table, pairs: pd.DataFrame, *, decided: bool,
    margin: float, budget: Budget,
) -> dict[str, Any]:  # fmt: skip
    """Up to which size a norm is worse, and from which on it is within the declared margin."""
    base = panel.series.reference
    own = pairs[(pairs["norm"] == norm) & (pairs["other"] == base)]
    other = pairs[(pairs["norm"] == base) & (pairs["other"] == norm)]
    lost = {int(b): f == "worse" for b, f in zip(own["batch_size"], own["finding"], strict=True)}
    lost |= {int(b): f == "better" for b, f in zip(other["batch_size"], other["finding"],
                                                   strict=True)}  # fmt: skip
    up_to = worse_up_to(list(lost), list(lost.values()))
    first = None
    if decided and margin > 0:
        extra = difference(found.norms[norm], found.norms[base])
        level = budget.sequence(len(panel.norms))
        first = within_from(extra, panel.batch_sizes, margin, alpha=level)
    return {
        "worse_up_to": np.nan if up_to is None else up_to,
        "within_from": np.nan if first is None else first,
        "margin": margin or np.nan,
    }


def _crossover(found: _Table, norm: str, base: str, sizes: list[int], alpha: float) -> Any:
    result = crossover_batch_size(
        found.norms[norm], found.norms[base], sizes, goal="min", alpha=alpha
    )
    lost = found.diverged[norm] + found.diverged[base]
    return result_row(result, [*found.notes, *few_seeds(result.n)]) | {"diverged": lost}


def _panel(
    panel: Grid, alpha: float, budget: Budget, pairs: pd.DataFrame, margin: float
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The rows of one panel in both tables."""
    base, sizes = panel.series.reference, panel.batch_sizes
    key = {"experiment": panel.series.name, "setting": panel.setting.text, "reference": base,
           "smallest": sizes[0], "largest": sizes[-1]}  # fmt: skip
    whole = _whole(panel)
    found: _Table | str = SIZE_MISSING
    rows: dict[str, Any] = {}
    if base in whole and len(whole) > 1:
        try:
            found = _read(panel, whole)
            if not isinstance(found, str):
                rows = _contrasts(panel, found, alpha, budget.contrasts)
        except StatisticsError as error:
            found = reason(error)
    degradation, crossover = [], []
    for norm in panel.norms:
        if norm == base:
            continue
        own = key | {"norm": norm}
        if isinstance(found, str) or norm not in rows:
            why = found if isinstance(found, str) else SIZE_MISSING
            degradation.append(
                own | refused_row(why, DEGRADATION) | {"finding": UNDECIDED, "fragile": False}
            )
            crossover.append(own | refused_row(why, CROSSOVER))
            continue
        degradation.append(own | rows[norm])
        clear = rows[norm]["finding"] != UNDECIDED
        place = _located(panel, norm, found, pairs, decided=clear, margin=margin, budget=budget)
        crossover.append(own | place | _crossover(found, norm, base, sizes, alpha))
    return degradation, crossover


def small_batch_tables(
    panels: list[Grid], alpha: float, pairs: pd.DataFrame, margins: Margins
) -> dict[str, pd.DataFrame]:
    """The tables ``degradation`` and ``crossover``, each norm against the reference.

    ``degradation``: the fitted extra error from the largest to the smallest batch size; positive
    means that the norm loses more than the reference as the batch shrinks. The norms of a panel are
    one family, judged by max-T at a quarter of the error rate of what is said without a claim:
    ``finding`` is that of ``adjusted_p``.

    ``crossover``: ``worse_up_to`` is the batch size up to which, from the smallest upwards, the
    norm is decidedly worse in the table ``pairs``. ``within_from`` is the one from which on it
    stays within the declared ``margin``, by a fixed sequence from the largest size downwards,
    where the contrast is decided. Either is NaN where nothing can be said. ``estimate``, ``low``
    and ``high`` describe where the mean difference is no longer positive, this comparison alone:
    infinite where it is at no size tested.
    """
    budgets, degradation, crossover = budget_of(panels, alpha), [], []
    for panel in panels:
        if len(panel.batch_sizes) < 2:
            continue
        name = panel.series.name
        own = pairs[(pairs["experiment"] == name) & (pairs["setting"] == panel.setting.text)]
        margin = margins.get((name, panel.series.metric), 0.0)
        found = _panel(panel, alpha, budgets[name], own, margin)
        degradation += found[0]
        crossover += found[1]
    columns = [*KEYS, *_ENDS, *RESULT_COLUMNS, *FAMILY_COLUMNS, "finding", "diverged"]
    return {
        "degradation": pd.DataFrame(degradation, columns=columns),
        "crossover": pd.DataFrame(
            crossover, columns=[*KEYS, *LOCATED, *RESULT_COLUMNS, "diverged"]
        ),
    }
