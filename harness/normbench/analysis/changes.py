"""What is compared between two result sets: endpoints of matched cells, seed by seed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from normbench.analysis import reasons
from normbench.analysis.boundary import reason
from normbench.analysis.cells import CellCurves
from normbench.analysis.curves import Floats
from normbench.analysis.endpoints import final_values, times
from normbench.analysis.matching import Match
from normbench.analysis.pairing import pair
from normbench.errors import StatisticsError
from normbench.stats.result import Caveat
from normbench.stats.rounding import difference
from normbench.stats.speed import trained

#: How a run says that its execution was not recorded.
_UNKNOWN = frozenset({"", "None", "nan", "<NA>"})
Environments = Mapping[str, Mapping[str, Any]]


def _no_values() -> Floats:
    return np.empty(0)


def _no_flags() -> NDArray[np.bool_]:
    return np.empty(0, dtype=np.bool_)


@dataclass(frozen=True)
class Change:
    """One endpoint of a matched cell: values of both sides over the seeds that both have.

    ``refusal`` says why there is nothing to compare, ``apart`` why the runs may be described
    but not paired.
    """

    match: Match
    endpoint: str
    threshold: float | None
    seeds: tuple[int, ...] = ()
    a: Floats = field(default_factory=_no_values)
    b: Floats = field(default_factory=_no_values)
    diverged_a: NDArray[np.bool_] = field(default_factory=_no_flags)
    diverged_b: NDArray[np.bool_] = field(default_factory=_no_flags)
    refusal: str = ""
    apart: str = ""
    notes: tuple[Caveat, ...] = ()

    @property
    def d(self) -> Floats:
        """By how much B is better, seed by seed: less error, or earlier at the threshold."""
        return difference(self.a, self.b)

    @property
    def still(self) -> bool:
        """Whether both sides are equal in every seed."""
        return bool(self.seeds) and not self.d.any()

    @property
    def identical(self) -> bool:
        """Whether the runs are the same, and their numbers too."""
        return self.match.same_runs and self.still

    def over(self, seeds: Sequence[int]) -> Change:
        """The same with these seeds alone."""
        at = [self.seeds.index(seed) for seed in seeds]
        kept = {"a": self.a[at], "b": self.b[at]}
        lost = {"diverged_a": self.diverged_a[at], "diverged_b": self.diverged_b[at]}
        return replace(self, seeds=tuple(seeds), **kept, **lost)  # type: ignore[arg-type]


def read_changes(match: Match, environments: Environments) -> list[Change]:
    """What :func:`_read` gives, or one refused endpoint where the values have none."""
    try:
        return list(_read(match, environments))
    except StatisticsError as error:
        return [Change(match, "final", None, refusal=reason(error))]


def _read(match: Match, environments: Environments) -> Iterator[Change]:
    """The endpoints that both cells have: the final error, and the time to shared thresholds.

    Both are read in the same way: of two windows the longer one holds, as far as both have that
    many evaluations. ``environments`` are those of both sides by their hash, to say in what they
    differ.
    """
    a, b = match.a, match.b
    thresholds = [t for t in a.series.thresholds if t in b.series.thresholds]
    seeds = tuple(seed for seed in a.series.seeds if seed in set(b.series.seeds))
    cells = [
        replace(c, environments=("",) * len(c.seeds), norm=f"{c.norm} ({side})")
        for c, side in ((a.cell, "A"), (b.cell, "B"))
    ]
    pairing = pair(cells, seeds) if seeds else None
    refusal = pairing.refusal if pairing is not None else reasons.NO_SHARED_SEED
    if a.cell.metric != b.cell.metric:
        refusal, thresholds = reasons.metrics(a.cell.metric, b.cell.metric), []
    plain = Change(match, "final", None, refusal=refusal)
    if refusal or pairing is None:
        yield plain
        yield from (replace(plain, endpoint="time", threshold=t) for t in thresholds)
        return
    kept = tuple(a.cell.seeds[i] for i in pairing.picks[0])
    window = max(a.series.window, b.series.window)
    window = min(window, *(max(1, int(trained(c.cell.x, c.cell.x.shape).sum())) for c in (a, b)))
    notes = list(pairing.notes)
    if a.series.window != b.series.window:
        notes.append(reasons.window(window))
    apart = _apart(a.cell, b.cell, pairing.picks, environments)
    plain = replace(plain, seeds=kept, apart=apart, notes=tuple(notes))
    ends = [final_values(c.cell, window) for c in (a, b)]
    yield _filled(plain, ends, [e.values for e in ends], pairing.picks)
    for threshold in thresholds:
        one = replace(plain, endpoint="time", threshold=threshold)
        if a.cell.budget != b.cell.budget:
            why = reasons.budgets(a.cell.budget, b.cell.budget)
            yield replace(one, refusal=why, seeds=())
            continue
        found = [times(c.cell, threshold, window) for c in (a, b)]
        yield _filled(one, found, [f.time for f in found], pairing.picks)


def _filled(
    change: Change, ends: Sequence[Any], values: Sequence[Floats], picks: Sequence[list[int]]
) -> Change:
    a, b = (v[p] for v, p in zip(values, picks, strict=True))
    lost_a, lost_b = (e.diverged[p] for e, p in zip(ends, picks, strict=True))
    return replace(change, a=a, b=b, diverged_a=lost_a, diverged_b=lost_b)


def _apart(
    a: CellCurves, b: CellCurves, picks: Sequence[list[int]], environments: Environments
) -> str:
    """Why the runs of both sides may not be paired, if they come from different environments."""
    for i, j in zip(*picks, strict=True):
        one, other = a.environments[i], b.environments[j]
        if {one, other} & _UNKNOWN:
            return reasons.NOT_RECORDED
        if one != other:
            return reasons.unlike(*(_flat(environments.get(key, {})) for key in (one, other)))
    return ""


def _flat(environment: Mapping[str, Any]) -> dict[str, str]:
    flat = {k: str(v) for k, v in environment.items() if not isinstance(v, Mapping)}
    versions = environment.get("versions")
    return flat | (dict(versions) if isinstance(versions, Mapping) else {})
