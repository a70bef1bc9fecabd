"""How fast a cell can be trained in each way: measured with a few steps, never guessed."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import torch

from normbench.calibration.candidates import Together, together
from normbench.calibration.race import Candidate, race
from normbench.calibration.tasks import Calibrated, Calibration, Measured
from normbench.errors import NormbenchError
from normbench.models.make import is_own
from normbench.plan.edited import check_code
from normbench.plan.execution import EngineSpec
from normbench.training.budget import schedule_of
from normbench.training.data import Prepared, prepare
from normbench.training.devices import synchronize
from normbench.training.plain import CHANNELS_LAST, COMPILED, PlainEngine

#: Of the work that waits, the share that may be spent on measuring, and the most seconds.
_SHARE, _MOST = 0.03, 10.0
#: The runs of a cell in a sweep of usual size.
_USUAL = 24
#: The runs of a group at most. Small nets took from .97 to 1.17 times as long a run in groups of
#: 192 as in groups of 96, and what a worker holds does not grow with a sweep's runs.
_WIDEST = 128
#: A wider group than the best so far must take less than this share of its seconds a run.
_PAYS = 0.97
#: Seconds that a step takes at most at the width where formulations are compared, if it can.
_LONG_STEP = 0.1
#: Steps of each group at most in a comparison of formulations, and of widths; and of the plain loop
#: in its measurement.
_TURNS, _WIDTH_TURNS, _MOST_STEPS = 15, 5, 7
#: And of all steps that wait, the share that the plain loop may take for its measurement.
_STEPS_SHARE = 0.01
#: Where the plain loop takes so many times the seconds of the best packed form, its own other
#: formulations are not tried.
_HOPELESS = 3.0
#: A plain loop that seemed to take less than this many times the best packed form's seconds is
#: measured beside it.
_RIVAL = 2.0
#: Of the memory that is free, the share that one worker's group may take.
_MEMORY_SHARE = 0.5
#: Seconds that trying another formulation of the plain loop takes, roughly.
_TRIAL_SECONDS = 0.3
#: Seconds of work per worker from which on compiling is tried.
_COMPILE_FROM = 1800.0


def _seconds_per_step(
    step: Callable[[int], Any], device: str, budget: float, most: int = _MOST_STEPS
) -> float:
    """The median over ``most`` repetitions of a step, after warm-up, in about ``budget`` seconds.

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
    for i in range(2, 2 + max(2, min(most, int(budget / max(once, 1e-6))))):
        started = time.perf_counter()
        step(i)
        synchronize(device)
        times.append(time.perf_counter() - started)
    return median(times)


def widths(runs: int) -> list[int]:
    """The widths to try for so many runs: all at once or an equal part, and halves down to two."""
    found: list[int] = []
    width = -(-runs // -(-runs // _WIDEST))
    while width > 1 and len(found) < 5:
        found.append(width)
        width = -(-width // 2)
    return found


def calibrate(task: Calibration) -> Calibrated:
    """Measure the plain engine and those that train runs together, at several widths.

    The formulations are compared at one width, and the best of them is tried with twice as many
    runs, and where that pays with the most. Measuring stops where it would cost more than a small
    share of the work that waits, or for the widest group more than that may save.
    """
    torch.set_num_threads(task.threads)
    check_code(task.run)
    data = prepare(task.run.cell, task.device)
    schedule = schedule_of(task.run, len(data.train))
    plain = _plain(task, data, "")
    measured = [plain]
    result = Calibrated((plain,), schedule.steps)
    work = plain.seconds * schedule.steps * task.total
    if task.mode == "plain":
        return result
    best: Candidate | None = None
    if task.runs > 1:
        found = together(task, data, work, plain.seconds)
        result = replace(result, reason=found.reason)
        packed, best = _all_together(task, data, found, plain.seconds, schedule.steps)
        measured += packed
    least = min((one.seconds for one in measured[1:]), default=math.inf)
    if task.mode == "auto" and plain.seconds < _HOPELESS * least:
        measured += _other_plain(task, data, work, schedule.steps)
    if best is not None:
        seconds = min(_MOST, task.most, _SHARE * least * schedule.steps * task.total) / 4
        measured = _with_rivals(task, data, measured, best, seconds)
    return replace(result, measured=tuple(measured))


def _with_rivals(
    task: Calibration, data: Prepared, measured: list[Measured], best: Candidate, seconds: float
) -> list[Measured]:
    """The same, with plain loops that come near the best packed group measured beside it.

    They were measured at another moment. The comparison takes about ``seconds``, and where three
    turns would take longer there is none.
    """
    least = next(
        one.seconds for one in measured if (one.engine, one.width) == (best.spec, best.width)
    )
    near = [
        i
        for i, one in enumerate(measured)
        if one.engine.name == "plain" and one.engine.variant != COMPILED
        and one.seconds < _RIVAL * least
    ]  # fmt: skip
    once = best.width * least + sum(measured[i].seconds for i in near)
    if not near or 3 * once > seconds:
        return measured
    plain = [Candidate(task, data, measured[i].engine, 1) for i in near]
    end = time.perf_counter() + seconds
    own, *others = race([best, *plain], _TURNS, lambda: time.perf_counter() > end)
    for i, other in zip(near, others, strict=True):
        measured[i] = replace(measured[i], seconds=least * other / own)
    return measured


def _all_together(
    task: Calibration, data: Prepared, found: Together, plain: float, steps: int
) -> tuple[list[Measured], Candidate | None]:
    """The ways to train a cell's runs together, the best of them at several widths, and that one.

    ``plain`` are the seconds of a step by the plain loop, ``steps`` those of a run.
    """
    started, measured = time.perf_counter(), list[Measured]()
    best: Candidate | None = None
    work = steps * task.total  # steps that wait
    budget = min(_MOST, task.most, _SHARE * plain * work)

    def spent(share: float) -> bool:
        return time.perf_counter() - started > share * budget

    try:
        specs = found.specs
        sizes, room = widths(task.runs), _room(task)
        while sizes and found.memory(sizes[0]) >= room:
            del sizes[0]
        if not sizes or not specs:
            return measured, None
        at = _compared_at(sizes, plain)
        while at + 1 < len(sizes) and found.memory(sizes[at]) * len(specs) > room:
            at += 1  # they are held at once
        began = time.perf_counter()
        candidates = [Candidate(task, data, specs[0], sizes[at])]
        made = (time.perf_counter() - began) / sizes[at]
        # the work that waits is what the best way so far makes of it
        seconds = [candidates[0].step()]
        budget = min(budget, _SHARE * seconds[0] * work)
        with contextlib.suppress(NormbenchError, RuntimeError, MemoryError):
            for spec in specs[1:]:
                if spent(0.25):
                    break
                candidates.append(Candidate(task, data, spec, sizes[at]))
                budget = min(budget, _SHARE * candidates[-1].step() * work)
        if len(candidates) > 1 or not spent(0.5):
            seconds = race(candidates, _TURNS, lambda: spent(0.5))
        measured = [one.measured(own) for one, own in zip(candidates, seconds, strict=True)]
        least = min(seconds)
        best = candidates[seconds.index(least)]
        del candidates

        def against(width: int, best: Candidate) -> tuple[Candidate, float]:
            """Another width, and its seconds a run."""
            other = Candidate(task, data, best.spec, width)
            own, others = race([best, other], _WIDTH_TURNS, lambda: spent(1.0))
            measured.append(other.measured(least * others / own))
            return other, measured[-1].seconds

        def affords(width: int, best: Candidate, gain: float = 0.0) -> bool:
            """Whether there is time to make a group of another width, and for a few turns.

            Or that is less than ``gain``, the seconds that it may save.
            """
            needed = width * made + 3 * (width + best.width) * least
            return needed < max(gain, budget - (time.perf_counter() - started))

        if at and affords(sizes[at - 1], best):
            other, own = against(sizes[at - 1], best)
            if own <= _PAYS * least:
                # the seconds of a step that its runs share: with more of them, each has less
                shared = (least - own) / (1 / best.width - 1 / other.width)
                best, least = other, own
                budget = min(budget, _SHARE * least * work)
                for width in sizes[: at - 1]:  # the widest that it may pay to try
                    if affords(width, best, shared * (1 / best.width - 1 / width) * work):
                        other, own = against(width, best)
                        if own <= _PAYS * least:
                            best, least = other, own
                        break
        for width in sizes[at + 1 :]:  # narrower, where workers would have no group
            enough = task.runs * task.cells >= 2 * task.workers * best.width
            if enough or not affords(width, best):
                break
            against(width, best)
    except (NormbenchError, RuntimeError, MemoryError):
        pass  # what could be measured decides
    return measured, best


def _compared_at(sizes: Sequence[int], plain: float) -> int:
    """The place of the width at which formulations are compared.

    It is one that a sweep of usual size has, and of long steps a narrower one: there calls do not
    count, and what is faster for few runs is so for many.
    """
    most = min(_USUAL, _LONG_STEP / plain)
    return next((i for i, width in enumerate(sizes) if width <= most), len(sizes) - 1)


def _plain(task: Calibration, data: Prepared, variant: str) -> Measured:
    engine = PlainEngine(task.run, data, task.device, variant)
    index = torch.arange(task.run.cell.samples_per_step, device=task.device)[None]
    most = min(_MOST_STEPS, int(_STEPS_SHARE * engine.schedule.steps * task.total))
    with engine.session():
        budget = min(0.3, task.most)
        seconds = _seconds_per_step(lambda i: engine.step(index, i), task.device, budget, most)
    return Measured(EngineSpec("plain", variant, task.threads), 1, seconds)


def _other_plain(task: Calibration, data: Prepared, work: float, steps: int) -> list[Measured]:
    """The plain loop's other formulations, as far as measuring them can pay.

    ``work`` are the seconds that the cell's runs take by the ordinary one. Compiling takes from ten
    seconds to a minute, in every worker and again at every resume: it is tried where that is a
    small share of the work, and its seconds are laid on those of the steps.
    """
    found: list[Measured] = []
    filters = any(p.dim() == 4 for p in PlainEngine(task.run, data).weights)
    with contextlib.suppress(RuntimeError, ValueError):
        if filters and _SHARE * work > _TRIAL_SECONDS:
            found.append(_plain(task, data, CHANNELS_LAST))
    # a network of the user's own may draw random numbers, which compiled code draws otherwise
    if is_own(task.run.cell) or not task.compiling or work < _COMPILE_FROM * max(1, task.workers):
        return found
    with contextlib.suppress(Exception):  # a compiler may be missing, or fail in its own ways
        started = time.perf_counter()
        one = _plain(task, data, COMPILED)
        spent = time.perf_counter() - started
        share = spent * max(1, task.workers) / (steps * max(1, task.total))
        found.append(replace(one, seconds=one.seconds + share))
    return found


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
