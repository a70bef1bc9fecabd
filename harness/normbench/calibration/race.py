"""Which way to train takes the least time, on a machine that is not always as fast.

Another tenant may slow it down for seconds. Measured one after the other, the way whose turn it
was then would look slow; so they take single steps in turns, and what counts is their ratio.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from statistics import median

import torch

from normbench.calibration.tasks import Calibration, Measured
from normbench.plan.execution import EngineSpec
from normbench.training.data import Prepared
from normbench.training.devices import synchronize
from normbench.training.engines import make_engine

#: Turns at least. After ``_TELLING`` of them, who takes over ``_NEAR`` times the least drops out.
_LEAST, _TELLING, _NEAR = 3, 3, 1.25


class Candidate:
    """An engine with ``width`` runs of a cell, of which single steps are timed."""

    def __init__(self, task: Calibration, data: Prepared, spec: EngineSpec, width: int) -> None:
        self.spec, self.width, self.device = spec, width, task.device
        # what the weights are makes no difference to the seconds: one initialisation serves all
        self.engine = make_engine(spec, [task.run] * width, data, task.device)
        items = torch.arange(task.run.cell.samples_per_step, device=task.device)
        self.index = items.expand(width, -1)
        self.taken, self.steps = 0, self.engine.schedule.steps
        self.step()  # warms up

    def step(self) -> float:
        """Take a step; its seconds a run."""
        with self.engine.session():
            synchronize(self.device)
            started = time.perf_counter()
            self.engine.step(self.index, self.taken % self.steps)
            synchronize(self.device)
            self.taken += 1
            return (time.perf_counter() - started) / self.width

    def measured(self, seconds: float) -> Measured:
        """As a row of a calibration."""
        return Measured(self.spec, self.width, seconds)


def race(candidates: Sequence[Candidate], turns: int, enough: Callable[[], bool]) -> list[float]:
    """Seconds of each one's step a run, comparable with each other.

    They take ``turns`` each, fewer where it is ``enough``: the median of the fastest one's steps,
    and for the others that times the median of their ratios to it within a turn.
    """
    seconds: list[list[float]] = [[] for _ in candidates]
    running = list(range(len(candidates)))
    for turn in range(turns):
        for i in running if turn % 2 == 0 else reversed(running):
            seconds[i].append(candidates[i].step())
        if turn + 1 >= _TELLING:
            first = _first(seconds, running)
            running = [i for i in running if _ratio(seconds[i], seconds[first]) <= _NEAR]
        if turn + 1 >= _LEAST and (enough() or (turn + 1 >= _TELLING and len(running) == 1)):
            break
    first = _first(seconds, running)
    return [median(seconds[first]) * _ratio(own, seconds[first]) for own in seconds]


def _first(seconds: Sequence[Sequence[float]], running: Sequence[int]) -> int:
    """Which of those that are running is ahead."""
    first = running[0]
    for other in running[1:]:
        if _ratio(seconds[other], seconds[first]) < 1:
            first = other
    return first


def _ratio(own: Sequence[float], others: Sequence[float]) -> float:
    """The median ratio within a turn; the later turns of the one that took more do not count."""
    return median(a / b for a, b in zip(own, others, strict=False))
