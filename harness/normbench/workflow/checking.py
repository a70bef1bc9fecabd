"""Cells are checked before anything is trained: data, shapes, and what a norm refuses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from normbench.executors.base import Executor
from normbench.plan.code import packages_in
from normbench.plan.spec import RunSpec

if TYPE_CHECKING:
    from normbench.training.tasks import Checked


def check_runs(runs: list[RunSpec], executor: Executor | None) -> list[Checked]:
    """What is found out of each run without training it; in a worker where there is an executor."""
    from normbench.training.work import check_cells

    # all at once: the worker loads each data set a single time
    if executor is None:
        return check_cells(runs)
    done = list(executor.map(check_cells, [runs]))
    if done and done[0].value is not None:
        return list(done[0].value)
    # a cell may have ended its worker: then it alone has failed, which each by itself shows
    alone = list(executor.map(check_cells, [[run] for run in runs]))
    found = {one.task[0].run_hash: _one_checked(one) for one in alone}
    return [found[run.run_hash] for run in runs]


def _one_checked(done: Any) -> Checked:
    from normbench.training.tasks import Checked
    from normbench.training.work import check_cells

    (run,) = done.task
    if done.value is not None:
        return cast("Checked", done.value[0])
    if done.died or packages_in(run.cell):  # what ended a worker would end this process, too
        return Checked("failed", str(done.error))
    return check_cells([run])[0]  # and what went wrong there is raised here
