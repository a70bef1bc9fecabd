"""Which way to train takes the least time, on a machine that is not always as fast.

Another tenant may slow it down for seconds. Measured one after the other, the way whose turn it
was then would look slow; so they take single steps in turns, and what counts is their ratio.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from statistics import median

import torch

from normbench.plan.execution import Engine
from normbench.training.data import Prepared
from normbench.training.devices import synchronize
from normbench.training.loop import Trainer
from normbench.training.work import Calibration, Measured

#: Turns at least. After ``_TELLING`` of them, who takes over ``_NEAR`` times the least drops out.
_LEAST, _TELLING, _NEAR = 3, 3, 1.25


class Entrant:
    """Runs of a cell as one computation, or one by the plain loop, of which single steps are timed.

    ``width`` 0 stands for the plain loop.
    """

    def __init__(self, task: Calibration, data: Prepared, variant: str, width: int) -> None:
        from normbench.training.ensemble import Ensemble

        self.device, self.width = task.device, max(1, width)
        self.engine = Engine("packed" if width else "plain", variant, task.threads)
        batch = task.run.cell.batch_size
        self.index = torch.arange(batch, device=task.device)
        self.trained: Ensemble | Trainer
        if width:
            # what the weights are makes no difference to the seconds: one initialisation serves all
            self.trained = Ensemble([task.run] * width, data, task.device, variant)
            self.index = self.index.expand(width, batch)
        else:
            self.trained = Trainer(task.run, data, task.device, variant)
        #: Whether its convolutions may use oneDNN, which the other engine may choose otherwise.
        self.onednn = torch.backends.mkldnn.enabled
        self.taken, self.steps = 0, self.trained.schedule.steps
        self.step()  # warms up

    def step(self) -> float:
        """Take a step; its seconds a run."""
        torch.backends.mkldnn.enabled = self.onednn
        synchronize(self.device)
        started = time.perf_counter()
        self.trained.step(self.index, self.taken % self.steps)
        synchronize(self.device)
        self.taken += 1
        return (time.perf_counter() - started) / self.width

    def measured(self, seconds: float) -> Measured:
        """As a row of a calibration."""
        return Measured(self.engine, self.width, seconds)


def race(entrants: Sequence[Entrant], turns: int, enough: Callable[[], bool]) -> list[float]:
    """Seconds of each one's step a run, comparable with each other.

    They take ``turns`` each, fewer where it is ``enough``: the median of the fastest one's steps,
    and for the others that times the median of their ratios to it within a turn.
    """
    seconds: list[list[float]] = [[] for _ in entrants]
    running = list(range(len(entrants)))
    for turn in range(turns):
        for i in running if turn % 2 == 0 else reversed(running):
            seconds[i].append(entrants[i].step())
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
