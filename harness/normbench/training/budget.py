"""How long a run is, when it is evaluated, and the learning rate of each of its steps."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from normbench.catalog import SCHEDULES
from normbench.norms.schedule import Scheduled, set_step
from normbench.plan.spec import RunSpec
from normbench.protocol.schema import Cell
from normbench.training.data import check_batch_size


@dataclass(frozen=True)
class Schedule:
    """How long a run is, in steps, and after how many of them it is evaluated."""

    steps_per_epoch: int
    steps: int
    evaluations: int

    def evaluation_steps(self) -> list[int]:
        """The steps after which the run is evaluated, without step 0; the last is the run's end."""
        steps = {round(i * self.steps / self.evaluations) for i in range(1, self.evaluations + 1)}
        return sorted(steps - {0})


def schedule_of(run: RunSpec, n_train: int) -> Schedule:
    """The schedule of a run on ``n_train`` training items; less than a whole step is left out."""
    cell = run.cell
    check_batch_size(cell, n_train)
    per_epoch = n_train // cell.samples_per_step
    return Schedule(per_epoch, cell.budget_in_steps(per_epoch), cell.asked_evaluations)


def set_batch(
    norms: Iterable[Scheduled], cell: Cell, step: int, steps: int, number: int = 0
) -> None:
    """Tell norms that the ``number``-th batch of the step after ``step`` of ``steps`` is next.

    To a norm every batch is a step of its own, whether or not the weights move behind it.
    """
    set_step(norms, step * cell.accumulate + number, steps * cell.accumulate)


class LearningRates:
    """The learning rate of each step of a run: scaled to its samples, times the schedule's.

    ``unit`` is what rates are measured in: 1, or 1/λ_max where the cell scales by curvature.
    """

    def __init__(self, cell: Cell, steps: int, unit: float = 1.0) -> None:
        self.base, self.steps = cell.scaled_learning_rate() * unit, steps
        self.factor = SCHEDULES[cell.lr_schedule.name].load()
        self.params = cell.lr_schedule.params

    def at(self, step: int) -> float:
        """The rate of the step after ``step`` steps were taken."""
        return self.base * float(self.factor(step, self.steps, **self.params))
