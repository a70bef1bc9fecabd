"""Which runs may be paired: the seeds that all cells have, made in one environment."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from normbench.analysis.boundary import reason
from normbench.analysis.cells import CellCurves
from normbench.analysis.endpoints import RESULT_COLUMNS, result_row
from normbench.errors import StatisticsError
from normbench.stats.refusals import complete_blocks
from normbench.stats.result import Result


@dataclass(frozen=True)
class Pairing:
    """Positions of the runs to compare: ``picks`` holds, per cell, those of the common seeds."""

    picks: tuple[list[int], ...]
    notes: tuple[str, ...]
    refusal: str


def pair(cells: Sequence[CellCurves], planned: tuple[int, ...]) -> Pairing:
    """Pair cells over the seeds that all of them have.

    Seeds that lack a run are left out and noted; too many of them, a cell that lacks most, or
    runs of one seed from different machines or versions give a refusal.
    """
    at = [{seed: i for i, seed in enumerate(cell.seeds)} for cell in cells]
    present = np.array([[0.0 if s in where else np.nan for where in at] for s in planned])
    names = [f"{c.norm} at batch size {c.batch_size}" for c in cells]
    blocks = complete_blocks(present, names, list(planned))
    refusal = blocks.refusal or ""
    if not refusal and not blocks.kept.all():
        refusal = blocks.notes[0]
    if refusal:
        return Pairing((), blocks.notes, refusal)
    seeds = [s for s, keep in zip(planned, blocks.seeds, strict=True) if keep]
    for seed in seeds:
        found = {c.environments[where[seed]] for c, where in zip(cells, at, strict=True)}
        if len(found) > 1:
            refusal = (
                f"confounded with machine: the runs of seed {seed} were not all made on one "
                "machine with one set of versions"
            )
            return Pairing((), blocks.notes, refusal)
    return Pairing(tuple([where[s] for s in seeds] for where in at), blocks.notes, "")


def refused_row(reason: str, estimand: str) -> dict[str, Any]:
    """The result columns of a comparison that could not be made."""
    row: dict[str, Any] = dict.fromkeys(RESULT_COLUMNS, np.nan)
    texts = {"refusal": reason, "warnings": "", "assumptions": "", "estimand": estimand}
    return row | {"n": 0, **texts}


def attempted(estimand: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The result columns of a comparison, a refusal where the values have no such statistic."""
    try:
        return make()
    except StatisticsError as error:
        return refused_row(reason(error), estimand)


def noted_row(result: Result, notes: Sequence[str]) -> dict[str, Any]:
    """A result as columns, with the notes of its pairing among the warnings."""
    row = result_row(result)
    row["warnings"] = "; ".join([*result.warnings, *notes])
    return row
