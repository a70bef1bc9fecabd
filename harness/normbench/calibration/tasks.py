"""What a worker is asked to measure, and what it gives back: nothing here loads torch by itself."""

from __future__ import annotations

import math
from dataclasses import dataclass

from normbench.plan.execution import EngineSpec
from normbench.plan.spec import RunSpec


@dataclass(frozen=True)
class Measured:
    """What a candidate costs: seconds per run and step, ``width`` runs at once."""

    engine: EngineSpec
    width: int
    seconds: float


@dataclass(frozen=True)
class Calibrated:
    """All candidates of a cell, with the steps of its runs.

    ``reason`` says why its runs cannot be trained as one computation, where that was found.
    """

    measured: tuple[Measured, ...]
    steps: int
    reason: str = ""

    def seconds_of(self, engine: EngineSpec, width: int) -> float:
        """The expected seconds of a group, from the candidate that is most like it."""
        same = [one for one in self.measured if one.engine == engine] or list(self.measured)
        nearest = min(same, key=lambda one: abs(one.width - width))
        return nearest.seconds * width * self.steps


@dataclass(frozen=True)
class Calibration:
    """A cell to measure, by a run of it: at most ``runs`` of it wait, ``total`` of all like it.

    ``cells`` wait in all, of whatever kind.
    """

    key: str
    run: RunSpec
    runs: int
    total: int
    device: str
    threads: int
    mode: str
    workers: int = 1
    cells: int = 1
    #: Whether compiling may be tried: it takes up to a minute, too much for a mere estimate.
    compiling: bool = True
    #: Seconds that measuring may take at most, where that is less than its share of the work.
    most: float = math.inf

    def unmeasured(self) -> Calibrated:
        """What to assume where measuring failed: the plain loop, which will tell why."""
        return Calibrated((Measured(EngineSpec("plain", "", self.threads), 1, 1e-3),), 1)
