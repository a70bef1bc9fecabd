"""The execution plan: which runs are computed together, and how.

It decides the last bits of their numbers, so it is stored before the first step and followed by
every later invocation: one plan on one machine with one set of versions gives the same bits, under
any number of workers and after any interruption.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from normbench.plan.spec import RunSpec, digest

#: Raised whenever a change of the code changes the last bits of what an engine gives. It is part of
#: the environment: what was planned or computed before is neither followed nor paired with what is
#: computed now, and keeps its place (:data:`~normbench.plan.spec.NUMERICS_VERSION` would not).
ENGINES_VERSION = 2


@dataclass(frozen=True, order=True)
class EngineSpec:
    """How a group of runs is computed.

    ``name`` is ``plain`` (run by run), or as one computation ``packed`` (a built-in net, by
    hand-written passes) or ``stacked`` (any net that torch can map over its runs). ``variant``
    names a formulation: of the plain engine "", ``channels-last`` or ``compiled``, of the packed
    one that of its convolutions. ``threads`` are those of a worker.
    """

    name: str = "plain"
    variant: str = ""
    threads: int = 1


PLAIN = EngineSpec()


@dataclass(frozen=True)
class GroupPlan:
    """The ordered runs of one group, their engine, and the environment it was planned for.

    ``seconds`` are those that it was measured to take, where it was: they order the groups.
    ``reason`` says why runs of its cell cannot be stacked, where that was found.
    """

    engine: EngineSpec
    runs: tuple[str, ...]
    environment: str
    seconds: float | None = field(default=None, compare=False)
    reason: str = field(default="", compare=False)

    @property
    def key(self) -> str:
        """The execution hash that every row of the group carries."""
        return digest([asdict(self.engine), self.runs, self.environment])


@dataclass(frozen=True)
class ExecutionPlan:
    """All groups by execution hash. ``replaced`` ones did not fit into memory and are not used."""

    environments: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    groups: Mapping[str, GroupPlan] = field(default_factory=dict)
    replaced: frozenset[str] = frozenset()

    def group_of(self, environment: str) -> dict[str, str]:
        """For each run that is planned for this environment, the execution hash of its group."""
        return {
            run: key
            for key, group in self.groups.items()
            if group.environment == environment and key not in self.replaced
            for run in group.runs
        }


def recorded_groups(
    pending: Iterable[RunSpec], planned: Iterable[RunSpec], plan: ExecutionPlan, environment: str
) -> tuple[list[tuple[GroupPlan, tuple[RunSpec, ...]]], list[RunSpec]]:
    """Groups of the plan that hold pending runs, each whole; and the pending runs in none.

    A group of which the protocol no longer plans every run cannot be computed as it was: its
    pending runs count as being in none.
    """
    by_hash = {run.run_hash: run for run in planned}
    place = plan.group_of(environment)
    groups: dict[str, tuple[GroupPlan, tuple[RunSpec, ...]]] = {}
    rest = []
    for run in pending:
        key = place.get(run.run_hash)
        if key is not None and all(h in by_hash for h in plan.groups[key].runs):
            group = plan.groups[key]
            groups[key] = group, tuple(by_hash[h] for h in group.runs)
        else:
            rest.append(run)
    return list(groups.values()), rest


def even_chunks(runs: list[RunSpec], width: int) -> list[list[RunSpec]]:
    """The runs in order in the fewest groups of at most ``width``, as equal in size as can be."""
    count = -(-len(runs) // max(1, width))
    sizes = [len(runs) // count + (i < len(runs) % count) for i in range(count)]
    chunks, start = [], 0
    for size in sizes:
        chunks.append(runs[start : start + size])
        start += size
    return chunks


def halves(
    group: GroupPlan, runs: tuple[RunSpec, ...]
) -> list[tuple[GroupPlan, tuple[RunSpec, ...]]]:
    """A group that did not fit into memory as two of half its width."""
    middle = -(-len(runs) // 2)
    parts = [runs[:middle], runs[middle:]]
    each = None if group.seconds is None else group.seconds / 2
    plans = (replace(group, runs=tuple(r.run_hash for r in part), seconds=each) for part in parts)
    return list(zip(plans, parts, strict=True))
