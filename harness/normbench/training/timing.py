"""What a training step of each cell costs by itself: timed with nothing else at work.

Seconds inside a group that is trained as one computation are shared out among its runs, and
seconds of a sweep hold the machine's other work. Here each cell's plain step is timed alone, and
the cells take turns, so that whatever slows the machine down for a while slows them all.
"""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from normbench.errors import NormbenchError
from normbench.plan.spec import RunSpec
from normbench.training.cost import cost_key
from normbench.training.data import epoch_order, prepare
from normbench.training.devices import synchronize
from normbench.training.footprint import StepMemory
from normbench.training.loop import Trainer

#: Repetitions: at least, and at most; in between the seconds decide.
LEAST, MOST = 3, 30
#: Seconds that a turn's timed steps should take, and the most steps and warm-up steps of a turn.
_TURN, _STEPS, _WARM_UP = 0.02, 20, 3
#: Seed of the order in which the cells take turns.
_ORDER_SEED = 20_240
#: Threads, oneDNN and the maximum of memory are the process's: what a cell left out may raise.
_LEFT_OUT = (NormbenchError, RuntimeError, MemoryError)

Clock = Callable[[], float]


@dataclass(frozen=True)
class TimingTask:
    """Cells to time, by one run of each, in about ``seconds`` seconds."""

    runs: tuple[RunSpec, ...]
    device: str
    threads: int
    seconds: float


@dataclass(frozen=True)
class Turn:
    """Mean seconds of a step in one turn of a cell: its parts, and the whole."""

    forward: float
    backward: float
    update: float
    step: float


class _Steps:
    """A cell's freshly built trainer, and the batches of its run's first epoch."""

    def __init__(self, run: RunSpec, device: str) -> None:
        self.device = device
        self.trainer = Trainer(run, prepare(run.cell, device), device)
        order = epoch_order(run.seed, 0, len(self.trainer.data.train)).to(device)
        batch = run.cell.batch_size
        self.batches = [order[i : i + batch] for i in range(0, len(order) - batch + 1, batch)]
        self.taken = 0

    def batch(self) -> tuple[Tensor, int]:
        """The next batch, and how many steps were taken before."""
        step, self.taken = self.taken, self.taken + 1
        return self.batches[step % len(self.batches)], step

    def forward(self, index: Tensor) -> Tensor:
        """The loss of a batch, as :meth:`Trainer.gradients` computes it."""
        data = self.trainer.data.train
        return functional.cross_entropy(self.trainer.model(data.inputs(index)), data.y[index])

    def parts(self, clock: Clock) -> tuple[float, float, float]:
        """Take one step; the seconds of its forward pass, backward pass and update."""
        index, step = self.batch()
        times = [self._now(clock)]
        loss = self.forward(index)
        times.append(self._now(clock))
        gradients = torch.autograd.grad(loss, self.trainer.parameters)
        times.append(self._now(clock))
        self.trainer.update(gradients, step)
        times.append(self._now(clock))
        forward, backward, update = (b - a for a, b in zip(times, times[1:], strict=False))
        return forward, backward, update

    def turn(self, steps: int, warm_up: int, clock: Clock) -> Turn:
        """Time ``steps`` steps after ``warm_up`` others.

        On an accelerator the parts are waited for, which keeps it from working ahead; the whole
        step is therefore timed in as many further steps that are waited for once.
        """
        for _ in range(warm_up):
            self.trainer.step(*self.batch())
        found = [self.parts(clock) for _ in range(steps)]
        forward, backward, update = (sum(part) / steps for part in zip(*found, strict=True))
        whole = forward + backward + update
        if self.device != "cpu":
            started = self._now(clock)
            for _ in range(steps):
                self.trainer.step(*self.batch())
            whole = (self._now(clock) - started) / steps
        return Turn(forward, backward, update, whole)

    def _now(self, clock: Clock) -> float:
        synchronize(self.device)
        return clock()


@dataclass
class _Kind:
    """Cells that cost the same, and what was found for them."""

    runs: list[RunSpec]
    turns: list[Turn]
    steps: int = 1
    memory: float = float("nan")
    memory_kind: str = ""


@contextlib.contextmanager
def _threads(count: int) -> Iterator[None]:
    """So many threads meanwhile; what trainers set for the whole process is set back after."""
    threads, onednn = torch.get_num_threads(), torch.backends.mkldnn.enabled
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.backends.mkldnn.enabled = onednn  # type: ignore[assignment]


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
                steps = _Steps(kind.runs[0], task.device)
                kind.turns.append(steps.turn(kind.steps, min(kind.steps, _WARM_UP), clock))
            now = clock()
            if repetition + 1 >= LEAST and now - started + (now - began) > task.seconds:
                break
    return [row for kind in able for run in kind.runs for row in _rows(run, kind, task)]


def _warmed_up(kinds: list[_Kind], device: str, clock: Clock) -> list[_Kind]:
    """The cells that can be trained, with their memory and the steps of a turn."""
    able, error = [], None
    for kind in kinds:
        try:
            prepare(kind.runs[0].cell, device)  # the data are not the step's memory
            memory = StepMemory(device)
            steps = _Steps(kind.runs[0], device)
            steps.trainer.step(*steps.batch())
            kind.memory, kind.memory_kind = memory.of_step(
                steps.trainer, lambda steps=steps: steps.forward(steps.batch()[0])
            )
            once = steps.turn(1, 0, clock).step
        except _LEFT_OUT as problem:
            error = problem
            continue
        kind.steps = max(1, min(_STEPS, round(_TURN / max(once, 1e-9))))
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
