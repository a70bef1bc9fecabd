"""How long runs will take: a few steps of each cell are timed, the rest is arithmetic."""

from __future__ import annotations

import time

import torch

from normbench.plan.spec import RunSpec
from normbench.training.data import prepare
from normbench.training.evaluate import evaluate
from normbench.training.loop import Trainer


def seconds_of_run(run: RunSpec, device: str = "cpu", steps: int = 6, warm_up: int = 3) -> float:
    """The expected wall-clock seconds of one run, from ``steps`` timed steps and one evaluation.

    It is an estimate for planning, not a measurement for reports: the machine's other work
    and the first run's start-up are in it.
    """
    cell, data = run.cell, prepare(run.cell, device)
    trainer = Trainer(run, data, device)
    index = torch.arange(cell.batch_size, device=device)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for i in range(warm_up + steps):
            if i == warm_up:
                started = time.perf_counter()
            trainer.step(index, i)
        per_step = (time.perf_counter() - started) / steps
        started = time.perf_counter()
        evaluate(trainer.model, data, cell.statistics_batch, cell.statistics_samples)
        per_evaluation = time.perf_counter() - started
    finally:
        torch.set_num_threads(threads)
    evaluations = 1 + len(trainer.schedule.evaluation_steps())
    return per_step * trainer.schedule.steps + per_evaluation * evaluations
