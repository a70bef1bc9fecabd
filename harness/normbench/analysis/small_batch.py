"""What shrinking batches cost each norm, and from which batch size on it is no longer worse."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from normbench.analysis.boundary import reason
from normbench.analysis.cells import Grid
from normbench.analysis.endpoints import final_values
from normbench.analysis.pairing import pair
from normbench.analysis.reasons import CROSSOVER, DEGRADATION, SIZE_MISSING
from normbench.analysis.rows import RESULT_COLUMNS, attempted, ends, refused_row, result_row
from normbench.errors import StatisticsError
from normbench.stats.result import Caveat
from normbench.stats.smallbatch import crossover_batch_size, inverse_batch_contrast

KEYS = ["experiment", "setting", "norm", "reference", "smallest", "largest"]


@dataclass(frozen=True)
class _Table:
    """Final errors of two norms, shape (seeds, batch sizes) each."""

    norm: NDArray[np.float64]
    reference: NDArray[np.float64]
    sizes: list[int]
    diverged: int
    notes: tuple[Caveat, ...]


def _values(panel: Grid, norm: str) -> _Table | str:
    """The errors of a norm and the reference at all batch sizes, or why there are none."""
    sizes = panel.batch_sizes
    both = [panel.cells.get((n, b)) for n in (norm, panel.series.reference) for b in sizes]
    cells = [c for c in both if c is not None]
    if len(cells) < len(both):
        return SIZE_MISSING
    pairing = pair(cells, panel.series.seeds)
    if pairing.refusal:
        return pairing.refusal
    ends = [final_values(c, panel.series.window) for c in cells]
    values = np.array([e.values[p] for e, p in zip(ends, pairing.picks, strict=True)]).T
    lost = sum(int(e.diverged[p].sum()) for e, p in zip(ends, pairing.picks, strict=True))
    k = len(sizes)
    return _Table(values[:, :k], values[:, k:], sizes, lost, pairing.notes)


def _degradation(found: _Table | str, norm: str, base: str, alpha: float) -> dict[str, Any]:
    if isinstance(found, str):
        return refused_row(found, DEGRADATION)
    result = inverse_batch_contrast(
        found.norm, found.reference, found.sizes, goal="min", alpha=alpha,
        diverged=found.diverged, labels=(norm, base),
    )  # fmt: skip
    low, high = ends(result.details["difference_in_differences_interval"])
    return result_row(result, found.notes) | {
        "difference_in_differences": result.details["difference_in_differences"],
        "difference_in_differences_low": low,
        "difference_in_differences_high": high,
        "diverged": found.diverged,
    }


def _crossover(found: _Table | str, alpha: float) -> dict[str, Any]:
    if isinstance(found, str):
        return refused_row(found, CROSSOVER)
    result = crossover_batch_size(found.norm, found.reference, found.sizes, goal="min", alpha=alpha)
    return result_row(result, found.notes) | {"diverged": found.diverged}


def small_batch_tables(panels: list[Grid], alpha: float) -> dict[str, pd.DataFrame]:
    """The tables ``degradation`` and ``crossover``, each norm against the reference.

    ``degradation``: the fitted extra error from the largest to the smallest batch size;
    positive means that the norm loses more than the reference as the batch shrinks.
    ``crossover``: the smallest batch size from which on the norm is no longer worse; infinite
    where there is none up to the largest size tested.
    """
    degradation, crossover = [], []
    for panel in panels:
        base, sizes = panel.series.reference, panel.batch_sizes
        if len(sizes) < 2:
            continue
        for norm in panel.norms:
            if norm == base:
                continue
            key = {"experiment": panel.series.name, "setting": panel.setting.text, "norm": norm,
                   "reference": base, "smallest": sizes[0], "largest": sizes[-1]}  # fmt: skip
            try:
                found = _values(panel, norm)
            except StatisticsError as error:
                found = reason(error)
            lost = attempted(DEGRADATION, partial(_degradation, found, norm, base, alpha))
            degradation.append(key | lost)
            crossover.append(key | attempted(CROSSOVER, partial(_crossover, found, alpha)))
    plain = [f"difference_in_differences{end}" for end in ("", "_low", "_high")]
    return {
        "degradation": pd.DataFrame(
            degradation, columns=[*KEYS, *plain, *RESULT_COLUMNS, "diverged"]
        ),
        "crossover": pd.DataFrame(crossover, columns=[*KEYS, *RESULT_COLUMNS, "diverged"]),
    }
