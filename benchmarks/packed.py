"""(c): normbench, with the plan that its own calibration picks for the cell."""

from __future__ import annotations

from typing import Any

import torch

from benchmarks.contenders import Contender
from benchmarks.work import SEEDS, prepared, run_spec
from normbench.models.packed.net import set_up
from normbench.plan.execution import even_chunks
from normbench.training.calibrate import calibrate
from normbench.training.data import epoch_order
from normbench.training.ensemble import Ensemble
from normbench.training.loop import Trainer
from normbench.training.work import Calibration, set_up_worker
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
        self.packed, self.variant = choice.engine.name == "packed", choice.engine.variant
        runs = [run_spec(self.work, seed) for seed in range(SEEDS)]
        self.groups = even_chunks(runs, choice.width if self.packed else 1)
        self.at = -1
        tried = [
            [m.engine.name, m.engine.variant, m.width, float(f"{m.seconds:.4g}")]
            for m in found.measured
        ]
        width = len(self.groups[0])
        return {"engine": choice.engine.name, "variant": self.variant, "width": width} | {
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
        if self.packed:
            set_up()
            self.trained: Ensemble | Trainer = Ensemble(self.runs, self.data, "cpu", self.variant)
        else:
            self.trained = Trainer(self.runs[0], self.data, "cpu", self.variant)
        self.per_epoch = self.trained.schedule.steps_per_epoch

    def run(self, steps: int) -> None:
        """The steps of normbench's own training loop: data order, batches, gradients, update.

        Losses and hits of the batches are not kept: (a) does not keep them either.
        """
        if self.packed:
            with torch.no_grad():
                self._run(steps)
        else:
            self._run(steps)

    def _run(self, steps: int) -> None:
        batch, items = self.work.batch, len(self.data.train)
        for _ in range(steps):
            epoch, i = divmod(self.done, self.per_epoch)
            if i == 0:
                drawn = [epoch_order(run.seed, epoch, items) for run in self.runs]
                self.orders = torch.stack(drawn)
            index = self.orders[:, i * batch : (i + 1) * batch]
            self.trained.step(index if self.packed else index[0], self.done)
            self.done += 1
