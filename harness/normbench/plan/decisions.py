"""What a study decides from data along the way: tuned learning rates, pooled thresholds.

Decisions are kept apart from the protocol, which never changes by itself, and from the runs'
identity: the key of a cell leaves its tuned rate out. Only the workflow writes them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from normbench.catalog.fingerprints import NO_CODE, Fingerprints
from normbench.plan.spec import cell_hash
from normbench.protocol.schema import Cell
from normbench.protocol.study import Experiment


@dataclass(frozen=True)
class Decisions:
    """Learning rates by :func:`cell_key`, and thresholds by the claims' endpoint key.

    ``grids`` holds the rates that were added to a cell's grid because its best was at an edge.
    """

    rates: dict[str, float] = field(default_factory=dict)
    thresholds: dict[str, float] = field(default_factory=dict)
    grids: dict[str, tuple[float, ...]] = field(default_factory=dict)


def cell_key(cell: Cell, fingerprints: Fingerprints = NO_CODE) -> str:
    """The key under which a cell's learning rate is decided: the cell without that rate.

    A rate that was tuned for one code of a component is not another code's.
    """
    return cell_hash(cell.model_copy(update={"learning_rate": None}), fingerprints)


def grid(
    cell: Cell, experiment: Experiment, decisions: Decisions, fingerprints: Fingerprints = NO_CODE
) -> list[float]:
    """The learning rates that are tried on a cell: those declared, then those added since."""
    declared = experiment.tune.learning_rate if experiment.tune is not None else ()
    added = decisions.grids.get(cell_key(cell, fingerprints), ())
    return list(dict.fromkeys((*declared, *added)))


def decided(
    cell: Cell, experiment: Experiment, decisions: Decisions, fingerprints: Fingerprints = NO_CODE
) -> Cell:
    """The cell with its tuned learning rate, or unchanged if it is not decided yet."""
    if cell.learning_rate is not None:
        return cell
    rate = decisions.rates.get(cell_key(experiment.tuned_on(cell), fingerprints))
    return cell if rate is None else cell.model_copy(update={"learning_rate": rate})
