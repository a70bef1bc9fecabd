"""How fast a cell can be trained in each way: measured with a few steps, never guessed."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import torch

from normbench.errors import NormbenchError
from normbench.plan.execution import Engine
from normbench.training.data import Prepared, prepare
from normbench.training.devices import synchronize
from normbench.training.loop import CHANNELS_LAST, COMPILED, Trainer, schedule_of
from normbench.training.work import Calibrated, Calibration, Measured

#: Of the work that waits, the share that may be spent on measuring, and the most seconds.
_SHARE, _MOST = 0.03, 10.0
#: What took no longer than this factor times the fastest may be as fast.
_NEAR = 1.3
#: So often it is measured again, if there is time.
_LOOKS = 3
#: Of the memory that is free, the share that one worker's group may take.
_MEMORY_SHARE = 0.5
#: Seconds that trying another formulation of the plain loop takes, roughly.
_TRIAL_SECONDS = 0.3
#: Seconds of work per worker from which on compiling is tried.
_COMPILE_FROM = 1800.0


def _seconds_per_step(step: Callable[[int], Any], device: str, budget: float) -> float:
    """The median over repetitions of a step, after warm-up, within about ``budget`` seconds.

    A single step must do where it takes as long: there is little work then, and little to lose.
    """
    step(0)
    synchronize(device)
    started = time.perf_counter()
    step(1)
    synchronize(device)
    once = time.perf_counter() - started
    if once > budget:
        return once
    times = []
    for i in range(2, 2 + max(2, min(15, int(budget / max(once, 1e-6))))):
        started = time.perf_counter()
        step(i)
        synchronize(device)
        times.append(time.perf_counter() - started)
    return median(times)


def widths(runs: int) -> list[int]:
    """The widths to try for so many runs: all at once, and halves of that down to two."""
    found: list[int] = []
    width = runs
    while width > 1 and len(found) < 5:
        found.append(width)
        width = -(-width // 2)
    return found


def calibrate(task: Calibration) -> Calibrated:
    """Measure the plain loop and the packed formulations of a cell, at several widths.

    Measuring stops where it would cost more than a small share of the work that waits: the
    formulations are compared at one width, and the best of them is tried at the others.
    """
    torch.set_num_threads(task.threads)
    data = prepare(task.run.cell, task.device)
    schedule = schedule_of(task.run, len(data.train))
    plain = _plain(task, data, "")
    measured = [plain]
    result = Calibrated((plain,), schedule.steps)
    work = plain.seconds * schedule.steps * task.total
    budget = min(_MOST, _SHARE * work)
    if task.mode == "plain":
        return result
    if task.mode == "auto":
        measured += _other_plain(task, data, work, schedule.steps)
    if task.runs < 2:
        return replace(result, measured=tuple(measured))
    from normbench.models.packed.net import UnsupportedError
    from normbench.training.ensemble import memory_of, variants

    started, first = time.perf_counter(), len(measured)
    try:
        names = variants(task.run.cell, data, task.device)
        sizes, room = widths(task.runs), _room(task)
        while sizes and memory_of(task.run.cell, data, sizes[0]) >= room:
            del sizes[0]
        candidates = [(name, w) for name in names for w in sizes[:1]]
        for name, width in candidates:
            if len(measured) > first and time.perf_counter() - started > budget:
                break
            measured.append(_packed(task, data, name, width, budget / 10))
            # the work that waits is what the best way so far makes of it
            budget = min(budget, _SHARE * measured[-1].seconds * schedule.steps * task.total)
        best = min(measured[first:], key=lambda one: one.seconds, default=None)
        # further looks at those that are near it: the machine may have been slow for a while
        for look in range(_LOOKS):
            near = [i for i in range(first, len(measured)) if best and _near(measured[i], best)]
            # a look at all of them takes as long as those before took on average, at most
            spent = time.perf_counter() - started
            if len(near) < 2 or spent * (1 + 1 / (look + 1)) > budget / 2:
                break
            for i in near:
                one = measured[i]
                again = _packed(task, data, one.engine.variant, one.width, budget / 10)
                measured[i] = min(one, again, key=lambda found: found.seconds)
            best = min(measured[first:], key=lambda one: one.seconds)
        for width in sizes[1:]:
            if best is None or time.perf_counter() - started > budget:
                break
            measured.append(_packed(task, data, best.engine.variant, width, budget / 10))
    except UnsupportedError:
        pass  # such as a norm of another package: it has the plain loop alone
    except (NormbenchError, RuntimeError, MemoryError):
        pass  # what could be measured decides
    return replace(result, measured=tuple(measured))


def _near(one: Measured, best: Measured) -> bool:
    """Whether a measurement leaves open that this is the faster one."""
    return one.seconds <= _NEAR * best.seconds


def _plain(task: Calibration, data: Prepared, variant: str) -> Measured:
    trainer = Trainer(task.run, data, task.device, variant)
    batch = task.run.cell.batch_size
    index = torch.arange(batch, device=task.device)
    seconds = _seconds_per_step(lambda i: trainer.step(index, i), task.device, 0.3)
    return Measured(Engine("plain", variant, task.threads), 1, seconds)


def _other_plain(task: Calibration, data: Prepared, work: float, steps: int) -> list[Measured]:
    """The plain loop's other formulations, as far as measuring them can pay.

    ``work`` are the seconds that the cell's runs take by the ordinary one. Compiling takes from ten
    seconds to a minute, in every worker and again at every resume: it is tried where that is a
    small share of the work, and its seconds are laid on those of the steps.
    """
    found: list[Measured] = []
    filters = any(p.dim() == 4 for p in Trainer(task.run, data).parameters)
    with contextlib.suppress(RuntimeError, ValueError):
        if filters and _SHARE * work > _TRIAL_SECONDS:
            found.append(_plain(task, data, CHANNELS_LAST))
    if not task.compiling or work < _COMPILE_FROM * max(1, task.workers):
        return found
    with contextlib.suppress(Exception):  # a compiler may be missing, or fail in its own ways
        started = time.perf_counter()
        one = _plain(task, data, COMPILED)
        spent = time.perf_counter() - started
        share = spent * max(1, task.workers) / (steps * max(1, task.total))
        found.append(replace(one, seconds=one.seconds + share))
    return found


def _packed(task: Calibration, data: Prepared, variant: str, width: int, budget: float) -> Measured:
    from normbench.training.ensemble import Ensemble

    # what the weights are makes no difference to the seconds: one initialisation serves all
    ensemble = Ensemble([task.run] * width, data, task.device, variant)
    batch = task.run.cell.batch_size
    index = torch.arange(batch, device=task.device).expand(width, batch)
    seconds = _seconds_per_step(lambda i: ensemble.step(index, i), task.device, budget)
    return Measured(Engine("packed", variant, task.threads), width, seconds / width)


def _room(task: Calibration) -> float:
    """The bytes that a worker's group may take."""
    if task.device.startswith("cuda"):
        free, _ = torch.cuda.mem_get_info()
        return _MEMORY_SHARE * free
    return _MEMORY_SHARE * _free_memory() / max(1, task.workers)


def _free_memory() -> float:
    """The bytes of main memory that are free, or what a small machine has."""
    try:
        with Path("/proc/meminfo").open(encoding="ascii") as file:
            for line in file:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) * 1024.0
    except OSError:
        pass
    return 4e9
