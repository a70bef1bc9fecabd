"""What a training step of each cell costs by itself: timed with nothing else at work.

Seconds inside a group that is trained as one computation are shared out among its runs, and
seconds of a sweep hold the machine's other work. Here each cell's plain step is timed alone, and
the cells take turns, so that whatever slows the machine down for a while slows them all.
"""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

from normbench.calibration.cost import cost_key
from normbench.calibration.footprint import StepMemory
from normbench.calibration.step_timing import Clock, Steps, StepTiming
from normbench.errors import NormbenchError
from normbench.plan.edited import check_code
from normbench.plan.spec import RunSpec
from normbench.training.data import prepare

#: Repetitions: at least, and at most; in between the seconds decide.
LEAST, MOST = 3, 30
#: Seconds that a turn's timed steps should take, and the most steps and warm-up steps of a turn.
_TURN, _STEPS, _WARM_UP = 0.02, 20, 3
#: Seed of the order in which the cells take turns.
_ORDER_SEED = 20_240
#: What leaves a cell out instead of ending the pass: no data, no meaning, not enough memory.
_LEFT_OUT = (NormbenchError, RuntimeError, MemoryError)


@dataclass(frozen=True)
class TimingTask:
    """Cells to time, by one run of each, in about ``seconds`` seconds."""

    runs: tuple[RunSpec, ...]
    device: str
    threads: int
    seconds: float


@dataclass
class _Kind:
    """Cells that cost the same, and what was found for them."""

    runs: list[RunSpec]
    turns: list[StepTiming]
    steps: int = 1
    memory: float = float("nan")
    memory_kind: str = ""

    @property
    def run(self) -> RunSpec:
        """The run to time: the least learning rate is the least likely to end in NaN."""
        return min(self.runs, key=lambda run: run.cell.scaled_learning_rate())

    def warm_up(self, device: str, clock: Clock) -> None:
        """Measure the memory, and choose how many steps a turn has."""
        check_code(self.run)
        prepare(self.run.cell, device)  # the data are not the step's memory
        memory = StepMemory(device)
        steps = Steps(self.run, device)
        once = steps.turn(1, 1, clock).step
        self.steps = max(1, min(_STEPS, round(_TURN / max(once, 1e-9))))
        index, _ = steps.next()
        batch = index[: steps.batch_size]
        found = memory.of_step(steps.engine, lambda: steps.forward(batch))
        self.memory, self.memory_kind = found

    def take_turn(self, device: str, clock: Clock) -> None:
        """Add a turn of a cell that is built anew, and gone when this returns."""
        warm_up = min(self.steps, _WARM_UP)
        self.turns.append(Steps(self.run, device).turn(self.steps, warm_up, clock))


@contextlib.contextmanager
def _threads(count: int) -> Iterator[None]:
    """So many threads meanwhile."""
    threads = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def time_cells(task: TimingTask, clock: Clock = time.perf_counter) -> list[dict[str, Any]]:
    """A row per cell and repetition: seconds of a step and its parts, and MiB of memory.

    After one round that warms up and measures memory, the cells that cost different amounts take
    turns, in a new order in each repetition. A turn builds the cell anew: where its tensors lie in
    memory then varies between repetitions instead of favouring a cell in all of them (Mytkowicz
    et al. 2009), and one cell's memory is held at a time. Between :data:`LEAST` and :data:`MOST`
    repetitions are made, and no more once ``task.seconds`` are spent. Cells that cost the same get
    the same numbers. A cell that cannot be trained gets no row; if none can, its error passes
    through.
    """
    started = clock()
    kinds: dict[str, _Kind] = {}
    for run in task.runs:
        kinds.setdefault(cost_key(run.cell), _Kind([], [])).runs.append(run)
    with _threads(task.threads):
        able = _warmed_up(list(kinds.values()), task.device, clock)
        orders = random.Random(_ORDER_SEED)
        for repetition in range(MOST):
            began = clock()
            for kind in orders.sample(able, len(able)):
                kind.take_turn(task.device, clock)
            now = clock()
            if repetition + 1 >= LEAST and now - started + (now - began) > task.seconds:
                break
    return [row for kind in able for run in kind.runs for row in _rows(run, kind, task)]


def _warmed_up(kinds: list[_Kind], device: str, clock: Clock) -> list[_Kind]:
    """The cells that can be trained, warmed up."""
    able, error = [], None
    for kind in kinds:
        try:
            kind.warm_up(device, clock)
        except _LEFT_OUT as problem:
            error = problem.with_traceback(None)  # which would keep the cell's tensors
        else:
            able.append(kind)
    if error is not None and not able:
        raise error
    return able


def _rows(run: RunSpec, kind: _Kind, task: TimingTask) -> Iterator[dict[str, Any]]:
    for repetition, turn in enumerate(kind.turns):
        yield {
            "cell_hash": run.cell_hash,
            "repetition": repetition,
            "forward_seconds": turn.forward,
            "backward_seconds": turn.backward,
            "update_seconds": turn.update,
            "step_seconds": turn.step,
            "memory": kind.memory,
            "memory_kind": kind.memory_kind,
            "device": task.device,
            "threads": task.threads,
        }
