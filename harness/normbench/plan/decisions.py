"""What a study decides from data along the way: tuned learning rates, pooled thresholds.

Decisions are kept apart from the protocol, which never changes by itself, and from the runs'
identity: the key of a cell leaves its tuned rate out. Only the workflow writes them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from normbench.catalog.fingerprints import NO_CODE, Fingerprints
from normbench.plan.spec import cell_hash
from normbench.protocol.schema import Cell


@dataclass(frozen=True)
class Decisions:
    """Learning rates by :func:`cell_key`, and thresholds by the claims' endpoint key."""

    rates: dict[str, float] = field(default_factory=dict)
    thresholds: dict[str, float] = field(default_factory=dict)


def cell_key(cell: Cell, fingerprints: Fingerprints = NO_CODE) -> str:
    """The key under which a cell's learning rate is decided: the cell without that rate.

    A rate that was tuned for one code of a component is not another code's.
    """
    return cell_hash(cell.model_copy(update={"learning_rate": None}), fingerprints)


def decided(cell: Cell, decisions: Decisions, fingerprints: Fingerprints = NO_CODE) -> Cell:
    """The cell with its tuned learning rate, or unchanged if it is not decided yet."""
    if cell.learning_rate is not None:
        return cell
    rate = decisions.rates.get(cell_key(cell, fingerprints))
    return cell if rate is None else cell.model_copy(update={"learning_rate": rate})
