"""A step with every operation in the formulation that is fastest for it: what a choice may give.

The formulations that a calibration tries, and some others, train the same seeds, a step of each in
turns, so that a machine that slows down does so for all. The forward and the backward pass of each
operation are timed apart, and the fastest of each counts, even where they would not fit together
(images that one leaves as its neighbour takes them): no mixture of these formulations is faster
than their sum.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable
from statistics import median
from typing import Any

import torch

from benchmarks.work import Work, prepared, run_spec
from normbench.models.packed.formulation import GROUPED, IM2COL
from normbench.training.data import epoch_order
from normbench.training.packed import PackedEngine, variants

#: Formulations besides those that a calibration tries: each alone, for all layers that have it.
_ALONE = (IM2COL, GROUPED)
#: An operation's place and pass, or a part of the step that is none.
_Part = tuple[int, str]


def timed(seconds: Counter[Any], key: Any, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, its CPU time added to what ``seconds`` has under ``key``."""

    def call(*arguments: Any, **more: Any) -> Any:
        started = time.process_time()
        result = function(*arguments, **more)
        seconds[key] += time.process_time() - started
        return result

    return call


class _Rival:
    """One formulation, each of its operations timed; a call takes a step."""

    def __init__(self, work: Work, width: int, variant: str) -> None:
        runs, data = [run_spec(work, seed) for seed in range(width)], prepared(work)
        self.work, self.data, self.done = work, data, 0
        self.engine = PackedEngine(runs, data, "cpu", variant)
        self.orders = torch.stack([epoch_order(run.seed, 0, len(data.train)) for run in runs])
        self.seconds: Counter[_Part] = Counter()
        trained: Any = self.engine
        for _, operations in trained.packed.blocks:
            for place, operation in enumerate(operations):
                for name in ("forward", "backward"):
                    call = timed(self.seconds, (place, name), getattr(operation, name))
                    setattr(operation, name, call)
        trained.update = timed(self.seconds, (-1, "update"), trained.update)

    @torch.no_grad()
    def __call__(self) -> dict[_Part, float]:
        """Seconds per seed's step of each part, of one step."""
        self.seconds.clear()
        batch, steps = self.work.batch, self.engine.schedule.steps_per_epoch
        at = self.done % steps * batch
        started = time.process_time()
        with self.engine.session():
            self.engine.step(self.orders[:, at : at + batch], self.done)
        whole = time.process_time() - started
        self.done += 1
        self.seconds[-1, "rest"] = whole - sum(self.seconds.values())
        return {part: s / self.engine.members for part, s in self.seconds.items()}


class Fastest:
    """All formulations of a cell; :meth:`turn` lets each take a step."""

    def __init__(self, work: Work, width: int) -> None:
        names = dict.fromkeys([*variants(run_spec(work).cell, prepared(work), "cpu"), *_ALONE])
        self.rivals = {name: _Rival(work, width, name) for name in names}
        self.found: dict[_Part, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
        for rival in self.rivals.values():
            rival()

    def turn(self) -> None:
        """One step of each."""
        for name, rival in self.rivals.items():
            for part, seconds in rival().items():
                self.found[part][name].append(seconds)

    def step(self) -> float:
        """Seconds per seed's step: the sum of each part's least median over the turns."""
        return sum(min(map(median, named.values())) for named in self.found.values())
