"""How long runs will take: a few steps of each cell are timed, the rest is arithmetic."""

from __future__ import annotations

import time

import torch
from torch.nn import functional

from normbench.catalog import OPTIMIZERS
from normbench.models.describe import network
from normbench.models.plain import build, initialise
from normbench.plan.spec import RunSpec
from normbench.training.data import prepare
from normbench.training.evaluate import evaluate
from normbench.training.loop import choose_convolutions, schedule_of
from normbench.training.optimizers import decay_mask


def seconds_of_run(run: RunSpec, device: str = "cpu", steps: int = 6, warm_up: int = 3) -> float:
    """The expected wall-clock seconds of one run, from ``steps`` timed steps and one evaluation.

    It is an estimate for planning, not a measurement for reports: the machine's other work
    and the first run's start-up are in it.
    """
    cell, data = run.cell, prepare(run.cell, device)
    model = build(network(cell, data.shape, data.classes), device)
    initialise(model, run.seed, cell.init)
    parameters = list(model.parameters())
    optimizer = OPTIMIZERS[cell.optimizer.name].load()(
        parameters,
        cell.scaled_learning_rate(),
        decayed=decay_mask(model),
        **cell.optimizer.params,
    )
    schedule = schedule_of(run, len(data.train))
    choose_convolutions(cell.batch_size, data.shape)
    x, y = data.train.inputs(slice(0, cell.batch_size)), data.train.y[: cell.batch_size]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for i in range(warm_up + steps):
            if i == warm_up:
                started = time.perf_counter()
            loss = functional.cross_entropy(model(x), y)
            optimizer.step(torch.autograd.grad(loss, parameters))
        per_step = (time.perf_counter() - started) / steps
        started = time.perf_counter()
        evaluate(model, data, cell.statistics_batch, cell.statistics_samples)
        per_evaluation = time.perf_counter() - started
    finally:
        torch.set_num_threads(threads)
    evaluations = 1 + len(schedule.evaluation_steps())
    return per_step * schedule.steps + per_evaluation * evaluations
