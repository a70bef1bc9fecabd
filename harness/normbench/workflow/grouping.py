"""Forming groups: what was planned earlier is followed, the rest is measured and planned."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

from normbench.datasets.content import Content
from normbench.errors import UsageError
from normbench.executors.base import Executor
from normbench.plan.decisions import cell_key
from normbench.plan.execution import (
    ENGINES_VERSION,
    EngineSpec,
    ExecutionPlan,
    GroupPlan,
    even_chunks,
    halves,
    recorded_groups,
)
from normbench.plan.spec import RunSpec, digest
from normbench.results import provenance
from normbench.results.execution import add_groups, read_execution
from normbench.workflow.data import digests

if TYPE_CHECKING:
    from normbench.calibration.tasks import Calibrated, Measured
    from normbench.training.tasks import Group

EngineMode = Literal["auto", "plain", "packed", "stacked"]
#: Runs of a cell that the plain loop computes before they are committed together: as many as take
#: so many seconds, at most four. What is not committed is lost at an interruption.
PLAIN_GROUP, _PLAIN_SECONDS = 4, 5.0
#: What costs no more than this factor counts as equally fast: measurements are noisy.
_TOLERANCE = 1.03
#: Of equally fast groups the widest is taken that is committed within about so many seconds.
_COMMIT_SECONDS = 120.0
#: A group hangs that takes longer than these seconds and so many times what its steps were measured
#: to take: evaluations, probes and other processes of the machine come on top.
_PATIENCE, _SLOWER = 600.0, 20.0


def engine_mode(name: str) -> EngineMode:
    """The mode of that name; raises :class:`UsageError` for another."""
    if name not in get_args(EngineMode):
        raise UsageError(f"--engine is auto, plain, packed or stacked; received {name!r}")
    return cast(EngineMode, name)


def environment_record(device: str) -> dict[str, Any]:
    """What runs must share to have equal bits and to be paired: machine, device and versions."""
    from normbench.training.devices import device_name

    found = provenance.environment()
    return {
        "device": device.partition(":")[0],
        "device_name": device_name(device),
        "cpu": found["cpu"],
        "dtype": "float32",
        "versions": {
            **{k: found["versions"][k] for k in ("normbench", "torch", "numpy")},
            "engines": str(ENGINES_VERSION),
        },
    }


def check_followed(plan: ExecutionPlan, environment: Mapping[str, Any]) -> None:
    """Raise :class:`UsageError` where no group of another folder's plan fits this machine."""
    here = digest(dict(environment))
    if not any(group.environment == here for group in plan.groups.values()):
        raise UsageError(
            "the execution plan to follow was made on another machine, device or set of "
            "versions (of torch, NumPy, normbench or its engines): the same bits cannot be had "
            "here; leave the option --execution out"
        )


@dataclass(frozen=True)
class CellExecution:
    """How the runs of a cell are computed: the engine, how many at once, seconds a run and step."""

    engine: EngineSpec
    width: int
    seconds: float


def choose(
    measured: Sequence[Measured], runs: int, cells: int, workers: int, steps: int = 1
) -> CellExecution:
    """The engine and width that finish ``runs`` runs of each of ``cells`` such cells first.

    A wide group may be fast and still leave workers without work: what counts is when the last
    worker ends. ``steps`` are those of a run; long groups are kept narrow where that costs nothing,
    since what is not committed is lost at an interruption.
    """

    def ends(one: Measured) -> float:
        groups = -(-runs // one.width)
        rounds = math.ceil(groups * cells / max(1, workers))
        return rounds * -(-runs // groups) * one.seconds

    best = min(ends(one) for one in measured)
    good = [one for one in measured if ends(one) <= best * _TOLERANCE]
    soon = [one for one in good if one.seconds * one.width * steps <= _COMMIT_SECONDS]
    if soon:
        chosen = max(soon, key=lambda one: (one.width, -ends(one)))
    else:
        chosen = min(good, key=lambda one: (one.width, ends(one)))
    return CellExecution(chosen.engine, chosen.width, chosen.seconds)


def plain_group(seconds: float) -> int:
    """The runs that are committed together where each takes so many seconds by itself."""
    return max(1, min(PLAIN_GROUP, int(_PLAIN_SECONDS / max(seconds, 1e-9))))


@dataclass
class Grouping:
    """Plans groups for a results folder on one device.

    ``mode`` is ``auto`` (measured), or the engine to use wherever it can be used; ``timeout`` the
    seconds that a group may take (default: far more than it was measured to); ``contents`` are
    those of the data that workers must find.
    """

    folder: Path
    device: str
    environment: Mapping[str, Any]
    executor: Executor
    workers: int
    threads: int = 1
    mode: EngineMode = "auto"
    timeout: float | None = None
    contents: Mapping[str, Content] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.environment_hash = digest(dict(self.environment))
        self._known: dict[str, Calibrated] = {}

    def follow(self, plan: ExecutionPlan) -> None:
        """Take over the groups of another folder's plan, as far as they fit this machine."""
        groups = [g for g in plan.groups.values() if g.environment == self.environment_hash]
        gone = [key for key in plan.replaced if key in plan.groups]
        add_groups(self.folder, self.environment, groups, gone)

    def form(self, pending: Sequence[RunSpec], planned: Iterable[RunSpec]) -> list[Group]:
        """The groups that compute all pending runs, those that take longest first.

        New ones are stored before this returns. Of earlier ones without a measurement, such as
        those of another folder's plan, nothing is known, and they come first.
        """
        plan = read_execution(self.folder)
        recorded, rest = recorded_groups(pending, planned, plan, self.environment_hash)
        calibrated = self._calibrated(rest)
        by_cell: dict[str, list[RunSpec]] = {}
        for run in rest:
            # the rates that are tried for a cell are one computation with a rate per run
            by_cell.setdefault(f"{cell_key(run.cell)} {run.phase}", []).append(run)
        new: list[tuple[GroupPlan, tuple[RunSpec, ...]]] = []
        for same in by_cell.values():
            found = calibrated[same[0].cell_hash]
            choice = self._choose(found, len(same), len(by_cell))
            for chunk in even_chunks(same, choice.width):
                hashes = tuple(run.run_hash for run in chunk)
                seconds = found.seconds_of(choice.engine, len(chunk))
                group = GroupPlan(
                    choice.engine, hashes, self.environment_hash, seconds, found.reason
                )
                new.append((group, tuple(chunk)))
        if new:
            add_groups(self.folder, self.environment, [group for group, _ in new])
        groups = [*recorded, *new]
        groups.sort(key=lambda one: -math.inf if one[0].seconds is None else -one[0].seconds)
        return [self._group(i, group, runs) for i, (group, runs) in enumerate(groups)]

    def limit(self, group: Group) -> float | None:
        """The seconds after which a group is taken to hang; None where nothing is known of it."""
        if self.timeout is not None or group.seconds is None:
            return self.timeout
        return _PATIENCE + _SLOWER * group.seconds

    def halve(self, group: Group, number: int) -> list[Group]:
        """A group that did not fit into memory, as two; stored so that later runs do the same."""
        old = read_execution(self.folder).groups[group.execution_hash]
        parts = halves(old, group.runs)
        add_groups(
            self.folder, self.environment, [plan for plan, _ in parts], [group.execution_hash]
        )
        return [self._group(number + i, plan, runs) for i, (plan, runs) in enumerate(parts)]

    def _group(self, number: int, plan: GroupPlan, runs: tuple[RunSpec, ...]) -> Group:
        from normbench.training.tasks import Group

        data = digests(runs, self.contents)
        return Group(f"{number:06d}", runs, self.device, plan.key, plan.engine, plan.seconds, data)

    def _choose(self, found: Calibrated, runs: int, cells: int) -> CellExecution:
        plain = [one for one in found.measured if one.engine.name == "plain"]
        together = [one for one in found.measured if one.engine.name != "plain"]
        asked = [one for one in together if one.engine.name == self.mode]
        if self.mode == "plain":
            spec, seconds = EngineSpec("plain", "", self.threads), plain[0].seconds
            return CellExecution(spec, plain_group(seconds * found.steps), seconds)
        # where runs cannot be trained together, the plain engine's formulations are all there is
        wanted = asked or (together if self.mode != "auto" else [])
        candidates = wanted or [*plain, *together]
        choice = choose(candidates, runs, cells, self.workers, found.steps)
        if choice.engine.name == "plain":
            width = plain_group(choice.seconds * found.steps)
            return CellExecution(choice.engine, width, choice.seconds)
        return choice

    def _calibrated(self, runs: Sequence[RunSpec]) -> dict[str, Calibrated]:
        """What each cell's candidates cost, by cell hash; equal work is measured once."""
        from normbench.calibration.cost import cost_key
        from normbench.calibration.tasks import Calibration
        from normbench.calibration.work import calibrate

        first: dict[str, RunSpec] = {}
        keys: dict[str, str] = {}
        waiting: dict[str, Counter[str]] = {}
        for run in runs:
            if run.cell_hash not in keys:
                keys[run.cell_hash] = cost_key(run.cell)
            key = keys[run.cell_hash]
            first.setdefault(key, run)
            waiting.setdefault(key, Counter())[f"{cell_key(run.cell)} {run.phase}"] += 1
        cells = sum(map(len, waiting.values()))
        tasks = [
            Calibration(
                key=key,
                run=run,
                runs=max(waiting[key].values()),
                total=waiting[key].total(),
                device=self.device,
                threads=self.threads,
                mode=self.mode,
                workers=self.workers,
                cells=cells,
            )
            for key, run in first.items()
            if key not in self._known
        ]
        for done in self.executor.map(calibrate, tasks):
            self._known[done.task.key] = (
                done.value if done.value is not None else done.task.unmeasured()
            )
        return {cell: self._known[key] for cell, key in keys.items()}
