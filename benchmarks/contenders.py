"""The contenders: each trains a cell in its own way, a block of steps at a time."""

from __future__ import annotations

import gc
import time
from abc import ABC, abstractmethod
from typing import Any

import torch

from benchmarks.script import Training, epochs_of_indices, epochs_of_loader, network
from benchmarks.work import LEARNING_RATE, SEEDS, Work, tensors

#: A block lasts about this long, so that what the one before left in the caches is soon gone.
BLOCK_SECONDS = 0.25
_WARM_SECONDS = 0.03


class Contender(ABC):
    """Begins a cell, then trains one block in each round, with new seeds as rounds go on."""

    members = 1
    steps = warm = 1
    fresh = True  # whether start() built something whose first step does more than later ones

    def begin(self, work: Work) -> dict[str, Any]:
        """Get ready for a cell; returns what there is to say about how it will be trained."""
        self.work = work
        said = self.plan()
        self.start(0)
        self.run(2)
        count, spent = 0, 0.0
        while spent < 0.05:
            started = time.process_time()
            self.run(1)
            spent, count = spent + time.process_time() - started, count + 1
        self.steps = max(1, round(BLOCK_SECONDS * count / spent))
        self.warm = min(10, round(_WARM_SECONDS * count / spent))
        return said

    def block(self, turn: int) -> dict[str, float]:
        """Wall-clock and CPU seconds of a block, and how many seeds' steps it took."""
        self.start(turn)
        self.run(max(self.warm, int(self.fresh)))
        gc.collect()
        cpu, wall = time.process_time(), time.perf_counter()
        self.run(self.steps)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        return {"wall": wall, "cpu": cpu, "units": float(self.steps * self.members)}

    def plan(self) -> dict[str, Any]:
        """Load data and decide how to train the cell."""
        self.x, self.y = tensors(self.work)
        return {}

    @abstractmethod
    def start(self, turn: int) -> None:
        """Build what is trained in this round."""

    @abstractmethod
    def run(self, steps: int) -> None:
        """Train for some steps."""


class Script(Contender):
    """(a), or (a′) if ``fused``: one seed after the other."""

    def __init__(self, fused: bool) -> None:
        self.fused = fused

    def start(self, turn: int) -> None:
        """The next seed's network, optimizer and data order."""
        torch.manual_seed(turn % SEEDS)
        epochs = epochs_of_indices if self.fused else epochs_of_loader
        batches = epochs(self.x, self.y, self.work.batch)
        net = network(self.work.model, self.work.norm)
        self.training = Training(net, batches, LEARNING_RATE, self.fused)

    def run(self, steps: int) -> None:
        """The script's own loop."""
        self.training.run(steps)


class Peak(Contender):
    """Single-precision products of square matrices: units are floating-point operations."""

    size = 1024

    def plan(self) -> dict[str, Any]:
        """Two matrices, of the size that goes fastest here."""
        best = 0.0
        for size in (512, 1024, 2048):
            self.size = size
            self.start(0)
            self.run(1)
            started = time.process_time()
            self.run(2)
            rate = 4.0 * size**3 / (time.process_time() - started)
            if rate > best:
                best, fastest = rate, size
        self.size = fastest
        return {"size": fastest}

    def start(self, turn: int) -> None:
        """Fill the matrices, once."""
        if turn == 0:
            self.a, self.b = torch.randn(2, self.size, self.size)
            self.c = torch.empty(self.size, self.size)

    def run(self, steps: int) -> None:
        """Multiply."""
        for _ in range(steps):
            torch.mm(self.a, self.b, out=self.c)

    def block(self, turn: int) -> dict[str, float]:
        """As for the others, in floating-point operations."""
        found = super().block(turn)
        return found | {"units": found["units"] * 2.0 * self.size**3}
