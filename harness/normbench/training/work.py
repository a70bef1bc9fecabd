"""What a worker is asked to do, and what it gives back: nothing here loads torch by itself.

The process that leads a sweep only hands out work. Loading torch takes it seconds and a core in
which the workers could load theirs, so that it names functions here, which a worker then finds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from normbench.datasets.content import Content
from normbench.plan.execution import PLAIN, Engine
from normbench.plan.spec import RunSpec


@dataclass(frozen=True)
class Group:
    """Runs that are handed to one worker and committed together."""

    name: str
    runs: tuple[RunSpec, ...]
    device: str
    execution_hash: str
    engine: Engine = PLAIN
    #: Seconds of a worker that its steps were measured to take, where they were.
    seconds: float | None = None
    #: Digests of the data sets (by name with parameters) that the runs are to be trained on.
    data: Mapping[str, str] = field(default_factory=dict)


@dataclass
class GroupRows:
    """The rows that a group gives to each table, without the axes, keyed by run."""

    runs: list[dict[str, Any]] = field(default_factory=list)
    epochs: list[dict[str, Any]] = field(default_factory=list)
    predictions: list[dict[str, Any]] = field(default_factory=list)
    probes: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class Measured:
    """What a candidate costs: seconds per run and step, ``width`` runs at once."""

    engine: Engine
    width: int
    seconds: float


@dataclass(frozen=True)
class Calibrated:
    """All candidates of a cell, with the steps of its runs."""

    measured: tuple[Measured, ...]
    steps: int

    def seconds_of(self, engine: Engine, width: int) -> float:
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
        return Calibrated((Measured(Engine("plain", "", self.threads), 1, 1e-3),), 1)


@dataclass(frozen=True)
class Checked:
    """What was found when a cell was checked, why, and what its data hold and leave out.

    ``missing`` data are not on this machine, a ``misfit`` has values that do not fit each other,
    an ``undefined`` cell has no meaning, and of one that ``failed`` a component of another package
    raised.
    """

    kind: Literal["sound", "undefined", "missing", "misfit", "failed"]
    why: str = ""
    content: dict[str, Content] = field(default_factory=dict)


def set_up_worker() -> None:
    """Make a worker's arithmetic repeatable and quick: one thread, deterministic kernels.

    Denormal numbers, those below 1.2·10⁻³⁸, count as zero. With momentum 0.9, the velocity of a
    weight without gradients (that of a dead unit) is one after some 830 steps and never becomes
    zero, and the processor takes many times as long for each of them.
    """
    import torch

    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True


def leave_worker() -> None:
    """Let a process that was its own worker count denormal numbers as what they are again."""
    import torch

    torch.set_flush_denormal(False)


def train_group(group: Group) -> GroupRows:
    """See :func:`normbench.training.group.train_group`."""
    from normbench.training import group as module
    from normbench.training.check import check_data

    check_data(group)
    return module.train_group(group)


def calibrate(task: Calibration) -> Calibrated:
    """See :func:`normbench.training.calibrate.calibrate`."""
    from normbench.training import calibrate as module

    return module.calibrate(task)


def check_cells(runs: Sequence[RunSpec]) -> list[Checked]:
    """What is found for each run's cell; see :func:`normbench.training.check.check_all`.

    The data are looked at anew, also where this process has loaded them before.
    """
    from normbench.training.check import check_all
    from normbench.training.data import forget_data

    forget_data()
    return check_all([run.cell for run in runs])


def find_accelerator(places: Sequence[int]) -> str | None:
    """The type of this machine's accelerator, as a task for a worker; ``places`` is of no use."""
    from normbench.training.devices import accelerator

    del places
    return accelerator()
