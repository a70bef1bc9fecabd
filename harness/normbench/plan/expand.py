"""From a resolved protocol to its runs, in the order in which they are listed everywhere."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from normbench.catalog import LIST_AXES, nearest
from normbench.catalog.fingerprints import NO_CODE, Fingerprints
from normbench.errors import UsageError
from normbench.plan.code import code_of
from normbench.plan.decisions import Decisions, decided, grid
from normbench.plan.spec import RunSpec, cell_hash
from normbench.protocol.schema import AXES, Cell
from normbench.protocol.study import Study


def expand(
    study: Study, decisions: Decisions | None = None, fingerprints: Fingerprints = NO_CODE
) -> list[RunSpec]:
    """All runs of a study: experiment by experiment, cell by cell, seed by seed.

    In an experiment that tunes its learning rate, the tuning runs of a cell come first, once
    for all cells that share them; its evaluation runs carry the rate that ``decisions`` holds, or
    none while it is undecided.
    ``fingerprints`` are the code of the components of other packages that it uses.
    Pure: the same arguments give the same list, and nothing is looked up on the machine.
    """
    taken = decisions if decisions is not None else Decisions()
    runs: list[RunSpec] = []
    for experiment in study.experiments:
        tuned: set[Cell] = set()
        for cell in experiment.cells:
            base = experiment.tuned_on(cell)
            if experiment.tune is not None and base not in tuned:
                tuned.add(base)
                for rate in grid(base, experiment, taken, fingerprints):
                    tried = base.model_copy(update={"learning_rate": rate})
                    seeds = experiment.tune.seeds
                    runs += _of_cell(
                        study.root, experiment.name, tried, seeds, "tuning", fingerprints
                    )
            chosen = decided(cell, experiment, taken, fingerprints)
            seeds = experiment.seeds
            runs += _of_cell(study.root, experiment.name, chosen, seeds, "evaluation", fingerprints)
    return runs


def _of_cell(
    root: str,
    experiment: str,
    cell: Cell,
    seeds: Iterable[int],
    phase: str,
    fingerprints: Fingerprints,
) -> list[RunSpec]:
    known, code = cell_hash(cell, fingerprints), code_of(cell, fingerprints)
    runs = []
    for seed in seeds:
        run = RunSpec(experiment, cell, seed, phase, code, root)
        run.__dict__["cell_hash"] = known  # hashed once a cell, not once a run
        runs.append(run)
    return runs


def _axis_text(run: RunSpec, axis: str) -> set[str]:
    """The texts by which a run's value of an axis may be asked for."""
    value = getattr(run.cell, axis)
    if hasattr(value, "label"):
        return {value.label, value.name}
    if axis in LIST_AXES:
        return {"+".join(map(str, value)) or "none"}
    return {str(value)}


def select(runs: Sequence[RunSpec], only: Iterable[str]) -> list[RunSpec]:
    """The runs that match every ``axis=value[,value…]`` of ``only``.

    ``experiment`` and ``seed`` count as axes. Raises :class:`UsageError` for an unknown axis
    and for a value that no run has.
    """
    chosen = list(runs)
    for condition in only:
        axis, separator, text = condition.partition("=")
        axis = axis.strip()
        known = ["experiment", "seed", *AXES]
        if not separator or axis not in known:
            close = nearest(axis, known)
            hint = f"did you mean {close!r}?" if close else f"known axes: {', '.join(known)}"
            raise UsageError(
                f"--only takes axis=value, such as norm=batch,layer; received {condition!r}; {hint}"
            )
        # commas inside parentheses belong to a component's parameters
        wanted = {value.strip() for value in re.split(r",(?![^(]*\))", text)}

        def texts(run: RunSpec, axis: str = axis) -> set[str]:
            if axis in ("experiment", "seed"):
                return {str(getattr(run, axis))}
            return _axis_text(run, axis)

        present = sorted(set().union(*(texts(run) for run in runs))) if runs else []
        for value in sorted(wanted - set(present)):
            raise UsageError(
                f"--only {condition}: no run has {axis} = {value!r}; "
                f"the protocol has {', '.join(present[:30])}"
            )
        chosen = [run for run in chosen if texts(run) & wanted]
    return chosen
