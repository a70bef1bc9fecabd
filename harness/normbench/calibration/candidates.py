"""The ways in which a cell's runs can be trained together, and the memory that they take."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass

import torch

from normbench.calibration.footprint import counted_bytes
from normbench.calibration.tasks import Calibration
from normbench.calibration.trial import why_not_stacked
from normbench.models.packed.graph import UnsupportedError
from normbench.plan.execution import EngineSpec
from normbench.training.data import Prepared
from normbench.training.plain import PlainEngine

#: What stacked runs take of memory, by what a plain run's step keeps: gradients of the stacked
#: parameters and passing values come on top.
_OVERHEAD = 2.0
#: Where a packed form is there, stacking is tried for work of so many seconds: the trial takes
#: some tenths of one.
_TRIED_FROM = 60.0
#: A trial takes about as long as so many steps of the plain engine. There is none where that is
#: more than a second and than this share of the work that waits.
_TRIAL_STEPS, _TRIAL_SHARE = 150, 0.1


@dataclass(frozen=True)
class Together:
    """Engines that train runs together, the most promising first, and the bytes of so many runs.

    ``reason`` says why an engine that might be among them is not; of a net that has no packed form
    that alone is no reason.
    """

    specs: tuple[EngineSpec, ...]
    memory: Callable[[int], float]
    reason: str = ""


def together(task: Calibration, data: Prepared, work: float, step: float = 0.0) -> Together:
    """What may be tried for a cell whose runs would take ``work`` seconds by the plain engine.

    A ``step`` of it takes so many seconds.

    A net of this package's own layers and norms has packed forms. Any other is stacked, where a
    trial shows that this gives the same numbers.
    """
    from normbench.training.packed import memory_of, variants

    cell = task.run.cell
    packed: tuple[EngineSpec, ...] = ()
    unpacked = ""
    with contextlib.suppress(UnsupportedError):
        names = variants(cell, data, task.device)
        packed = tuple(EngineSpec("packed", name, task.threads) for name in names)
    if packed and cell.precision != "fp32":
        packed = ()
        unpacked = f"the packed engine computes in fp32 alone, not in {cell.precision}"
    by_itself = work >= _TRIED_FROM and task.mode != "packed"
    wanted = task.mode == "stacked" or not packed or by_itself
    trial = _TRIAL_STEPS * step
    against = ""
    if wanted and task.mode != "stacked" and trial > max(1.0, _TRIAL_SHARE * work):
        against = (
            f"too little work waits: a trial of stacking takes as long as some {_TRIAL_STEPS} steps"
        )
    elif wanted:
        against = why_not_stacked(task.run, data)
    stacked = (EngineSpec("stacked", "", task.threads),) if wanted and not against else ()
    reason = "; ".join(filter(None, [unpacked, against]))
    if packed:
        return Together((*packed, *stacked), lambda n: memory_of(cell, data, n), reason)
    return Together(stacked, _by_one_run(task, data), reason)


def _by_one_run(task: Calibration, data: Prepared) -> Callable[[int], float]:
    """The bytes of so many stacked runs, by those of a plain run's step."""
    engine = PlainEngine(task.run, data, task.device)
    index = torch.arange(task.run.cell.batch_size, device=task.device)
    with engine.session():
        one = counted_bytes(engine, lambda: engine.loss(index)[0])
    return lambda members: _OVERHEAD * members * one
