"""A protocol in its resolved form: every default explicit, ready to be expanded into runs."""

from __future__ import annotations

import os

from pydantic import BaseModel, ConfigDict, Field

from normbench.protocol.resolved import ResolvedClaim, ResolvedFamily
from normbench.protocol.schema import Cell, Metric
from normbench.protocol.tables import Tune


class Experiment(BaseModel):
    """One experiment, resolved: its cells in order and how its curves are read."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    title: str
    seeds: tuple[int, ...]
    metric: Metric
    thresholds: tuple[float, ...]
    window: int
    reference: str
    varies: tuple[str, ...]
    tune: Tune | None = None
    cells: tuple[Cell, ...]

    def tuned_on(self, cell: Cell) -> Cell:
        """The cell on whose tuning runs the learning rate of a cell is chosen: itself, or one of
        the norm ``tune.on`` that is equal to it otherwise."""
        on = self.tune.on if self.tune is not None else None
        return cell if on is None else cell.model_copy(update={"norm": on})

    @property
    def tuned_cells(self) -> tuple[Cell, ...]:
        """The cells of the tuning runs, each once; they have no learning rate."""
        if self.tune is None:
            return ()
        return tuple(dict.fromkeys(map(self.tuned_on, self.cells)))


class Study(BaseModel):
    """A whole protocol, resolved."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    title: str
    description: str
    alpha: float
    experiments: tuple[Experiment, ...]
    families: tuple[ResolvedFamily, ...] = ()
    claims: tuple[ResolvedClaim, ...] = ()
    #: What a reader of the protocol is told, and nothing that is stored.
    warnings: tuple[str, ...] = Field(default=(), exclude=True)
    #: The absolute path of the protocol; not stored.
    file: str = Field(default="", exclude=True)

    @property
    def root(self) -> str:
        """The absolute folder of the protocol, where targets are found; empty if unknown."""
        return os.path.dirname(self.file)  # noqa: PTH120  (of "", too)

    def experiment(self, name: str) -> Experiment:
        """The experiment of that name."""
        return next(e for e in self.experiments if e.name == name)

    def claim(self, name: str) -> ResolvedClaim:
        """The claim of that id."""
        return next(c for c in self.claims if c.id == name)
