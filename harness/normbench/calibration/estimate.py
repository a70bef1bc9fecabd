"""How long runs will take: a few steps of each cell are timed, the rest is arithmetic."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace

import torch

from normbench.calibration.calibrate import calibrate
from normbench.calibration.tasks import Calibration, Measured
from normbench.plan.code import packages_in
from normbench.plan.spec import RunSpec
from normbench.training.budget import schedule_of
from normbench.training.data import Prepared, prepare
from normbench.training.engines import make_engine
from normbench.training.plain import PlainEngine
from normbench.training.probing import ProbeError, Probing


@dataclass(frozen=True)
class Estimate:
    """The seconds of a run, and why an engine cannot train it together with others of its cell.

    ``together`` says whether another engine can.
    """

    seconds: float
    reason: str = ""
    together: bool = False


def estimate(
    run: RunSpec, device: str = "cpu", waiting: int = 1, most: float = math.inf
) -> Estimate:
    """The expected wall-clock seconds of one of ``waiting`` runs of a cell, in the best way found.

    Comparing ways to train takes ``most`` seconds at most, as far as single steps allow.
    It is an estimate for planning, not a measurement for reports: the machine's other work
    and the first run's start-up are in it. 0 where a component of another package raises: its runs
    end at once, and say so.
    """
    try:
        return _estimate(run, device, waiting, most)
    except Exception:
        if packages_in(run.cell):
            return Estimate(0.0)
        raise


def _estimate(run: RunSpec, device: str, waiting: int, most: float) -> Estimate:
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
    seconds = best.seconds * found.steps + per_evaluation * evaluations
    together = any(one.engine.name != "plain" for one in found.measured)
    return Estimate(seconds, found.reason, together)


def _seconds_of_probes(run: RunSpec, data: Prepared, device: str) -> float:
    """The seconds that the run's probes take at one evaluation: those of a second look.

    Much that a probe gives compares two moments, and a process's first look warms it up.
    """
    if not run.cell.probes:
        return 0.0
    engine, probing = PlainEngine(run, data, device), Probing(run, data)
    row = {"step": 0, "epoch": 0.0, "learning_rate": engine.rates[0].at(0)}
    try:
        probing.look(row, engine.export(0), None)
        first = probing.seconds
        before = engine.snapshot()
        with engine.session():
            engine.step(torch.arange(run.cell.samples_per_step, device=device)[None], 0)
        probing.look(row, engine.export(0), engine.values(0, before))
    except ProbeError:
        return 0.0  # the run itself will tell
    return probing.seconds - first


def _seconds_of_evaluation(run: RunSpec, data: Prepared, device: str, how: Measured) -> float:
    """The seconds of one evaluation of one run, computed as ``how`` says."""
    runs = [replace(run, seed=seed) for seed in range(how.width)]
    engine = make_engine(how.engine, runs, data, device)
    with engine.session():
        started = time.perf_counter()
        engine.evaluate()
        return (time.perf_counter() - started) / how.width
