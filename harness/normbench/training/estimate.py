"""How long runs will take: a few steps of each cell are timed, the rest is arithmetic."""

from __future__ import annotations

import math
import time
from dataclasses import replace

import torch

from normbench.catalog.guard import packages_of
from normbench.plan.code import components
from normbench.plan.spec import RunSpec
from normbench.training.calibrate import calibrate
from normbench.training.data import Prepared, prepare
from normbench.training.evaluate import evaluate
from normbench.training.loop import Trainer, schedule_of
from normbench.training.probing import ProbeError, Probing, private_copy
from normbench.training.work import Calibration, Measured


def seconds_of_run(
    run: RunSpec, device: str = "cpu", waiting: int = 1, most: float = math.inf
) -> float:
    """The expected wall-clock seconds of one of ``waiting`` runs of a cell, in the best way found.

    Comparing ways to train takes ``most`` seconds at most, as far as single steps allow.
    It is an estimate for planning, not a measurement for reports: the machine's other work
    and the first run's start-up are in it. 0 where a component of another package raises: its runs
    end at once, and say so.
    """
    try:
        return _seconds_of_run(run, device, waiting, most)
    except Exception:
        if packages_of(components(run.cell)):
            return 0.0
        raise


def _seconds_of_run(run: RunSpec, device: str, waiting: int, most: float) -> float:
    threads = torch.get_num_threads()
    try:
        task = Calibration("", run, waiting, waiting, device, 1, "auto", compiling=False, most=most)
        found = calibrate(task)
        best = min(found.measured, key=lambda one: one.seconds)
        data = prepare(run.cell, device)
        per_evaluation = _seconds_of_evaluation(run, data, device, best)
        per_evaluation += _seconds_of_probes(run, data, device)
    finally:
        torch.set_num_threads(threads)
    evaluations = 1 + len(schedule_of(run, len(data.train)).evaluation_steps())
    return best.seconds * found.steps + per_evaluation * evaluations


def _seconds_of_probes(run: RunSpec, data: Prepared, device: str) -> float:
    """The seconds that the run's probes take at one evaluation: those of a second look.

    Much that a probe gives compares two moments, and a process's first look warms it up.
    """
    if not run.cell.probes:
        return 0.0
    trainer, probing = Trainer(run, data, device), Probing(run, data)
    row = {"step": 0, "epoch": 0.0, "learning_rate": trainer.rates.at(0)}
    try:
        probing.look(row, private_copy(trainer.model), None)
        first = probing.seconds
        before = {n: p.detach().clone() for n, p in trainer.model.named_parameters()}
        trainer.step(torch.arange(run.cell.batch_size, device=device), 0)
        probing.look(row, private_copy(trainer.model), before)
    except ProbeError:
        return 0.0  # the run itself will tell
    return probing.seconds - first


def _seconds_of_evaluation(run: RunSpec, data: Prepared, device: str, how: Measured) -> float:
    """The seconds of one evaluation of one run, computed as ``how`` says."""
    cell = run.cell
    if how.engine.name == "plain":
        model = Trainer(run, data, device).model
        started = time.perf_counter()
        evaluate(model, data, cell.statistics_batch, cell.statistics_samples)
        return time.perf_counter() - started
    from normbench.training.ensemble import Ensemble
    from normbench.training.evaluate_packed import PackedEvaluation

    runs = [replace(run, seed=seed) for seed in range(how.width)]
    with torch.no_grad():
        packed = Ensemble(runs, data, device, how.engine.variant).packed
        evaluation = PackedEvaluation(packed, data)
        started = time.perf_counter()
        evaluation.evaluate(cell.statistics_batch, cell.statistics_samples)
        return (time.perf_counter() - started) / how.width
