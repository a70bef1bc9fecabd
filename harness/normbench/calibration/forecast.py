"""How long pending runs will take: the cells that weigh most are timed first, within a budget."""

from __future__ import annotations

import math
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from normbench.calibration.estimate import estimate
from normbench.plan.spec import RunSpec
from normbench.protocol.schema import Cell
from normbench.training.data import split_of

#: Of the budget, the share that measuring one cell may take.
_CELL_SHARE = 0.1
#: Cells that are timed at most, where there is no budget.
MOST_CELLS = 80
#: How much alike two cells are that share the value of an axis; the batch size counts by its ratio.
_ALIKE = {"dataset": 8.0, "model": 16.0, "norm": 2.0, "optimizer": 1.0, "probes": 1.0}


@dataclass(frozen=True)
class Forecast:
    """Seconds of one worker for all pending runs, and on how many of their cells that rests.

    ``alone`` tells of timed cells that are trained run by run: how many, by the reason; ``limited``
    of those of which an engine is left out and another trains the runs together.
    """

    seconds: float
    timed: int
    cells: int
    alone: Mapping[str, int] = field(default_factory=dict)
    limited: Mapping[str, int] = field(default_factory=dict)


@dataclass
class _Pending:
    """A cell with the number of its runs that wait, and the steps of one."""

    run: RunSpec
    count: int
    steps: int
    #: Seconds of one run, where they were measured.
    seconds: float = math.nan
    reason: str = ""
    together: bool = False

    @property
    def work(self) -> float:
        """Samples that all its runs go through."""
        return float(self.count) * self.steps * self.run.cell.batch_size


def forecast(
    pending: Sequence[RunSpec],
    device: str,
    budget: float | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> Forecast:
    """Time cells, those that weigh most first, and lay their seconds on those that are like them.

    With a ``budget`` in seconds no further cell is begun behind it; the first one always is.
    Without, at most :data:`MOST_CELLS` are timed. A cell's weight is its runs × steps × samples;
    kinds of cells (data set and model) take turns, so that none goes without.
    """
    cells = _pending_cells(pending)
    began, timed = clock(), list[_Pending]()
    each = math.inf if budget is None else _CELL_SHARE * budget
    for one in _in_turns(cells):
        if timed and (len(timed) >= MOST_CELLS if budget is None else clock() - began > budget):
            break
        found = estimate(one.run, device, one.count, each)
        one.seconds, one.reason, one.together = found.seconds, found.reason, found.together
        timed.append(one)
    alone, limited = (
        Counter(one.reason for one in timed if one.reason and one.together is together)
        for together in (False, True)
    )
    return Forecast(_total(cells, timed), len(timed), len(cells), alone, limited)


def _pending_cells(pending: Sequence[RunSpec]) -> list[_Pending]:
    counts = Counter(run.cell_hash for run in pending)
    sizes: dict[Hashable, int] = {}
    cells = []
    for run in {run.cell_hash: run for run in reversed(pending)}.values():
        cell = run.cell
        data = (cell.dataset, cell.split_seed, cell.validation_fraction, cell.test_fraction,
                cell.train_size)  # fmt: skip
        if data not in sizes:
            sizes[data] = len(split_of(cell).train)
        steps = cell.budget_in_steps(sizes[data] // cell.samples_per_step)
        cells.append(_Pending(run, counts[run.cell_hash], steps))
    return cells[::-1]


def _in_turns(cells: Sequence[_Pending]) -> list[_Pending]:
    """Cells in the order in which they are to be timed."""
    kinds: dict[Hashable, list[_Pending]] = defaultdict(list)
    for one in sorted(cells, key=lambda one: one.work, reverse=True):
        kinds[(one.run.cell.dataset, one.run.cell.model)].append(one)
    heaviest = sorted(kinds.values(), key=lambda kind: sum(c.work for c in kind), reverse=True)
    rounds = max(map(len, heaviest), default=0)
    return [kind[i] for i in range(rounds) for kind in heaviest if i < len(kind)]


def _total(cells: Sequence[_Pending], timed: Sequence[_Pending]) -> float:
    """The seconds of all runs: of a cell that was not timed, those of the one most like it."""
    known: dict[Hashable, float] = {}
    total = 0.0
    for one in cells:
        cell = one.run.cell
        seconds = one.seconds
        if math.isnan(seconds):
            key = (cell.batch_size, *(getattr(cell, axis) for axis in _ALIKE))
            if key not in known:
                known[key] = _seconds_of_step(cell, timed)
            seconds = known[key] * one.steps
        total += seconds * one.count
    return total


def _seconds_of_step(cell: Cell, timed: Sequence[_Pending]) -> float:
    """Seconds of a step, evaluations laid on it, from the timed cell that is most alike.

    Between batch sizes they grow as the square root of the ratio: calls take their time whatever
    the batch, sums do not.
    """

    def likeness(other: _Pending) -> tuple[float, ...]:
        own: Any = other.run.cell
        shared = sum(w for axis, w in _ALIKE.items() if getattr(own, axis) == getattr(cell, axis))
        return shared, -abs(math.log(own.batch_size / cell.batch_size)), other.work

    nearest = max(timed, key=likeness)
    ratio = cell.batch_size / nearest.run.cell.batch_size
    return nearest.seconds / max(1, nearest.steps) * math.sqrt(ratio)
