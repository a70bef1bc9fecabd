"""Which runs may be paired: the seeds that all cells have, made in one environment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from normbench.analysis import reasons
from normbench.analysis.cells import CellCurves
from normbench.stats.refusals import complete_blocks
from normbench.stats.result import Caveat


class Runs(Protocol):
    """What pairing asks of a cell: how it is called, and where each seed's run was made."""

    @property
    def label(self) -> str: ...  # noqa: D102
    @property
    def environment(self) -> Mapping[int, str]: ...  # noqa: D102


@dataclass(frozen=True)
class SeedBlock:
    """The seeds that all cells have, what had to be left out for it, and which cells were."""

    seeds: tuple[int, ...] = ()
    notes: tuple[Caveat, ...] = ()
    refusal: str = ""
    dropped: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Pairing:
    """Positions of the runs to compare: ``picks`` holds, per cell, those of the common seeds."""

    picks: tuple[list[int], ...]
    notes: tuple[Caveat, ...]
    refusal: str


def usable(cell: CellCurves) -> bool:
    """Whether most of the cell's seeds have a run: a cell that lacks most is a missing cell."""
    return 2 * len(cell.seeds) > cell.planned


def block(cells: Sequence[Runs], planned: Sequence[int]) -> SeedBlock:
    """The seeds that cells can be compared over.

    A cell that lacks most of its runs is dropped. Seeds that lack a run of another are left out
    and noted; too many of them give a refusal.
    """
    present = [[0.0 if s in cell.environment else np.nan for cell in cells] for s in planned]
    names = [cell.label for cell in cells]
    found = complete_blocks(np.array(present), names, list(planned))
    seeds = tuple(s for s, kept in zip(planned, found.seeds, strict=True) if kept)
    dropped = frozenset(n for n, kept in zip(names, found.kept, strict=True) if not kept)
    return SeedBlock(seeds, found.notes, found.refusal or "", dropped)


def confounded(cells: Sequence[Runs], seeds: Sequence[int]) -> str:
    """Why runs of a seed cannot be paired, if they come from different environments."""
    for seed in seeds:
        if len({cell.environment.get(seed) for cell in cells}) > 1:
            return reasons.confounded(seed)
    return ""


def pair(cells: Sequence[CellCurves], planned: Sequence[int]) -> Pairing:
    """Pair all of the cells, or say why they cannot be."""
    found = block(cells, planned)
    refusal = found.refusal or (str(found.notes[0]) if found.dropped else "")
    refusal = refusal or confounded(cells, found.seeds)
    if refusal:
        return Pairing((), found.notes, refusal)
    at = [{seed: i for i, seed in enumerate(cell.seeds)} for cell in cells]
    return Pairing(tuple([where[s] for s in found.seeds] for where in at), found.notes, "")
