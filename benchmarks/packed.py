"""(c): normbench, with the plan that its own calibration picks for the cell."""

from __future__ import annotations

from typing import Any

import torch

from benchmarks.contenders import Contender
from benchmarks.work import SEEDS, prepared, run_spec
from normbench.calibration.calibrate import calibrate
from normbench.calibration.tasks import Calibration
from normbench.plan.execution import even_chunks
from normbench.training.data import epoch_order
from normbench.training.engine import Engine
from normbench.training.engines import make_engine, units
from normbench.training.work import set_up_worker
from normbench.workflow.grouping import choose


class Normbench(Contender):
    """Groups of seeds as one computation, or the plain loop where that is measured to be faster."""

    def __init__(self) -> None:
        set_up_worker()

    def plan(self) -> dict[str, Any]:
        """Calibrate as ``normbench run`` does for 16 seeds of this cell and one worker."""
        first = run_spec(self.work)
        self.data = prepared(self.work)
        task = Calibration("", first, SEEDS, SEEDS, "cpu", 1, "auto", 1)
        found = calibrate(task)
        choice = choose(found.measured, SEEDS, cells=1, workers=1, steps=found.steps)
        self.engine = choice.engine
        self.packed = self.engine.name == "packed"
        runs = [run_spec(self.work, seed) for seed in range(SEEDS)]
        self.groups = [
            one for chunk in even_chunks(runs, choice.width) for one in units(self.engine, chunk)
        ]
        self.at = -1
        tried = [
            [m.engine.name, m.engine.variant, m.width, float(f"{m.seconds:.4g}")]
            for m in found.measured
        ]
        width = len(self.groups[0])
        return {"engine": self.engine.name, "variant": self.engine.variant, "width": width} | {
            "tried": tried
        }

    def start(self, turn: int) -> None:
        """The next group; a group of all seeds stays as it is."""
        at = turn % len(self.groups)
        self.fresh = at != self.at
        if not self.fresh:
            return
        self.at, self.done, self.runs = at, 0, self.groups[at]
        self.members = len(self.runs)
        self.trained: Engine = make_engine(self.engine, self.runs, self.data)
        self.per_epoch = self.trained.schedule.steps_per_epoch

    def run(self, steps: int) -> None:
        """The steps of normbench's own training loop: data order, batches, gradients, update.

        Losses and hits of the batches are not kept: (a) does not keep them either.
        """
        with self.trained.session():
            self._run(steps)

    def _run(self, steps: int) -> None:
        batch, items = self.work.batch, len(self.data.train)
        for _ in range(steps):
            epoch, i = divmod(self.done, self.per_epoch)
            if i == 0:
                drawn = [epoch_order(run.seed, epoch, items) for run in self.runs]
                self.orders = torch.stack(drawn)
            self.trained.step(self.orders[:, i * batch : (i + 1) * batch], self.done)
            self.done += 1
