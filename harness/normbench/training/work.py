"""The functions that a worker is given: nothing here loads torch before one of them is called.

The process that leads a sweep only hands out work. Loading torch takes it seconds and a core in
which the workers could load theirs, so that it names functions here, which a worker then finds.
"""

from __future__ import annotations

from collections.abc import Sequence

from normbench.plan.spec import RunSpec
from normbench.training.tasks import Checked, Group, GroupRows


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
    from normbench.plan.edited import check_code
    from normbench.training import group as module
    from normbench.training.check import check_data

    for run in {run.cell_hash: run for run in group.runs}.values():
        check_code(run)  # before its data are read: they may be a target's
    check_data(group)
    return module.train_group(group)


def check_cells(runs: Sequence[RunSpec]) -> list[Checked]:
    """What is found for each run's cell; see :func:`normbench.training.check.check_all`.

    The data are looked at anew, also where this process has loaded them before.
    """
    from normbench.plan.edited import check_code
    from normbench.training.check import check_all
    from normbench.training.data import forget_data

    forget_data()
    for run in {run.cell_hash: run for run in runs}.values():
        check_code(run)
    return check_all([run.cell for run in runs])


def find_accelerator(places: Sequence[int]) -> str | None:
    """The type of this machine's accelerator, as a task for a worker; ``places`` is of no use."""
    from normbench.training.devices import accelerator

    del places
    return accelerator()
