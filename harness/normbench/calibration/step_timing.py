"""A few steps of one cell, timed: the forward passes, backward passes and the update apart."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import torch
from torch import Tensor

from normbench.plan.spec import RunSpec
from normbench.training.data import epoch_order, prepare
from normbench.training.devices import synchronize
from normbench.training.plain import PlainEngine

Clock = Callable[[], float]


@dataclass(frozen=True)
class StepTiming:
    """Seconds of a step in one turn of a cell, median over its steps: the parts, and the whole."""

    forward: float
    backward: float
    update: float
    step: float


class Steps:
    """A cell's freshly built plain engine, and the batches of its run's first epoch."""

    def __init__(self, run: RunSpec, device: str) -> None:
        self.device = device
        self.engine = PlainEngine(run, prepare(run.cell, device), device)
        order = epoch_order(run.seed, 0, len(self.engine.data.train)).to(device)
        self.batch_size, items = run.cell.batch_size, run.cell.samples_per_step
        self.items = [order[i : i + items] for i in range(0, len(order) - items + 1, items)]
        self.taken = 0

    def next(self) -> tuple[Tensor, int]:
        """The next step's items and its number, from the start again after the run's last one."""
        step, self.taken = self.taken, self.taken + 1
        return self.items[step % len(self.items)], step % self.engine.schedule.steps

    def forward(self, index: Tensor) -> Tensor:
        """The loss of a batch (batch,)."""
        return self.engine.loss(index)[0]

    def parts(self, clock: Clock) -> tuple[float, float, float]:
        """Take one step; the seconds of its forward pass, backward pass and update."""
        index, step = self.next()
        self.engine.begin(step)
        forward = backward = 0.0
        times = [self._now(clock)]
        for batch in torch.split(index, self.batch_size):
            loss = self.forward(batch)
            times.append(self._now(clock))
            self.engine.backward(loss)
            times.append(self._now(clock))
            forward, backward = forward + times[-2] - times[-3], backward + times[-1] - times[-2]
        self.engine.finish()
        self.engine.update(step)
        return forward, backward, self._now(clock) - times[-1]

    def turn(self, steps: int, warm_up: int, clock: Clock) -> StepTiming:
        """Time ``steps`` steps after ``warm_up`` others.

        Medians, since a neighbour on the machine delays single steps by much. On an accelerator
        the parts are waited for, which keeps it from working ahead; the whole step is therefore
        the mean of as many further steps that are waited for once.
        """
        with self.engine.session():
            return self._turn(steps, warm_up, clock)

    def _turn(self, steps: int, warm_up: int, clock: Clock) -> StepTiming:
        for _ in range(warm_up):
            self._whole()
        found = [self.parts(clock) for _ in range(steps)]
        forward, backward, update = (median(part) for part in zip(*found, strict=True))
        whole = median(sum(step) for step in found)
        if self.device != "cpu":
            started = self._now(clock)
            for _ in range(steps):
                self._whole()
            whole = (self._now(clock) - started) / steps
        return StepTiming(forward, backward, update, whole)

    def _whole(self) -> None:
        index, step = self.next()
        self.engine.step(index[None], step)

    def _now(self, clock: Clock) -> float:
        synchronize(self.device)
        return clock()
