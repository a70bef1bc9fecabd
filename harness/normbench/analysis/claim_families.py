"""Families of claims: the values that they are judged by, and their verdicts, each for itself.

A claim that cannot be judged is void, with its reason; the others of its family are judged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from normbench.analysis import reasons
from normbench.analysis.boundary import Boundary
from normbench.analysis.claim_values import CellValues
from normbench.analysis.curves import Floats
from normbench.analysis.pairing import SeedBlock, block, confounded
from normbench.errors import StatisticsError
from normbench.protocol.resolved import Hypothesis, ResolvedClaim
from normbench.protocol.study import Experiment
from normbench.stats.rounding import difference, log_ratio
from normbench.stats.smallbatch import contrast_of
from normbench.stats.verdict import ClaimData, Verdict, judge_family


@dataclass
class Ready:
    """A hypothesis with the endpoint values of its cells."""

    claim: ResolvedClaim
    hypothesis: Hypothesis
    series: Experiment
    a: list[CellValues]
    b: list[CellValues]
    threshold: float | None
    void: str = ""
    task: str = "classification"

    @property
    def cells(self) -> list[CellValues]:
        """The cells of both sides."""
        return [*self.a, *self.b]


def _benefit(one: Ready, seeds: Sequence[int]) -> Floats:
    """Per seed, how much better a is than b: shape (n,), or (n, K) for an equivalence."""
    a = np.array([[cell.values[s] for cell in one.a] for s in seeds], dtype=np.float64)
    b = np.array([[cell.values[s] for cell in one.b] for s in seeds], dtype=np.float64)
    end, sizes = one.claim.endpoint, one.hypothesis.batch_sizes
    ratio = end.kind == "time" and end.estimand == "geometric-ratio"
    if ratio and not (a.min(initial=1.0) > 0 and b.min(initial=1.0) > 0):
        raise StatisticsError(
            reasons.no_logarithm(int((a <= 0).sum() + (b <= 0).sum()), a.size + b.size)
        )
    smaller = end.kind in ("time", "diverged") or end.better == "min"
    more, less = (b, a) if smaller else (a, b)
    if one.claim.kind == "interaction":
        # how much more b loses than a from the largest to the smallest batch, by a fit in 1/b
        span = 1.0 / min(sizes) - 1.0 / max(sizes)
        terms = (np.log(more), -np.log(less)) if ratio else (more, -less)
        return contrast_of(terms, list(sizes)) * span
    d: Floats = log_ratio(more, less) if ratio else difference(more, less)
    return d if one.claim.kind == "equivalence" else d[:, 0]


def _blocks(members: list[Ready]) -> tuple[list[SeedBlock], bool]:
    """A block for each member: one for all if they plan the same seeds, else one each."""
    joint = len({one.series.seeds for one in members}) == 1
    if joint:
        return [_block(members)] * len(members), True
    return [_block([one]) for one in members], False


def _block(members: Sequence[Ready]) -> SeedBlock:
    cells = {id(c): c for one in members for c in one.cells}
    return block(list(cells.values()), members[0].series.seeds)


def judge_hypotheses(
    members: list[Ready], method: str, alpha: float, boundary: Boundary
) -> list[tuple[Ready, Verdict | None, SeedBlock, str, str]]:
    """Verdicts of one family; None with a reason where a member cannot be judged."""
    why = {id(one): one.void for one in members}
    live = [one for one in members if not one.void]
    blocks: dict[int, SeedBlock] = {}
    if live:
        found, joint = _blocks(live)
        method = method if joint else "holm"
        blocks = {id(one): own for one, own in zip(live, found, strict=True)}
    for one in live:
        own = blocks[id(one)]
        missing = [c.label for c in one.cells if c.label in own.dropped]
        why[id(one)] = (
            reasons.missing_cells(missing) if missing
            else own.refusal or confounded(one.cells, own.seeds)
        )  # fmt: skip
    claims: dict[int, ClaimData] = {}
    for one in live:
        if not why[id(one)]:
            made = boundary.attempt(
                f"claim {one.hypothesis.name}", partial(_claim, one, blocks[id(one)].seeds), _why
            )
            if isinstance(made, ClaimData):
                claims[id(one)] = made
            else:
                one.void = why[id(one)] = made
    judged = _verdicts(claims, method, alpha, boundary)
    verdicts = {key: v for key, v in judged.items() if isinstance(v, Verdict)}
    for one in live:
        failed = judged.get(id(one))
        if isinstance(failed, str):
            one.void = why[id(one)] = failed
    empty = SeedBlock()
    return [
        (one, verdicts.get(id(one)), blocks.get(id(one), empty), why[id(one)], method)
        for one in members
    ]


def _claim(one: Ready, seeds: Sequence[int]) -> ClaimData:
    """A hypothesis with its benefits, as the statistics judge it.

    Raises :class:`~normbench.errors.StatisticsError` where the values have none.
    """
    lost = sum(int(c.diverged[s]) for c in one.cells for s in seeds)
    return ClaimData(
        one.hypothesis.name, one.claim.kind, _benefit(one, seeds), one.claim.margin,
        diverged=lost, divergence=one.claim.endpoint.kind == "diverged",
    )  # fmt: skip


def _why(reason: str) -> str:
    return reason


def _verdicts(
    claims: dict[int, ClaimData], method: Any, alpha: float, boundary: Boundary
) -> dict[int, Verdict | str]:
    """The verdicts of one family; a claim that cannot be judged has its reason, and no share."""
    if not claims:
        return {}

    def judged(some: dict[int, ClaimData]) -> dict[int, Verdict | str]:
        found = judge_family(list(some.values()), method=method, alpha=alpha)
        return dict(zip(some, found, strict=True))

    whole = Boundary().attempt("the family", lambda: judged(claims), _why)
    if not isinstance(whole, str):
        return whole
    alone: dict[int, Verdict | str] = {}
    for key, claim in claims.items():
        name = f"claim {claim.name}"
        one = boundary.attempt(name, partial(judged, {key: claim}), _why)
        alone[key] = one if isinstance(one, str) else one[key]
    fit = {key: claims[key] for key, found in alone.items() if isinstance(found, Verdict)}
    if len(fit) == len(claims):  # each by itself can be judged, and together they cannot
        return dict.fromkeys(claims, whole)
    return alone | _verdicts(fit, method, alpha, boundary)
