"""Tables made of all experiments at once, or, where one of them cannot be read, of the others."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import pandas as pd

from normbench.analysis.boundary import Boundary
from normbench.analysis.cells import Grid, panels
from normbench.analysis.curves import Curves
from normbench.results.load import Results

T = TypeVar("T")
Tables = dict[str, pd.DataFrame]


@dataclass
class ByExperiment:
    """The panels of a study; an experiment of which a table cannot be made is left out of it.

    ``refusals`` say which, and why; ``boundary`` knows those that are bugs.
    """

    panels: dict[str, list[Grid]] = field(default_factory=dict)
    boundary: Boundary = field(default_factory=Boundary)
    refusals: list[str] = field(default_factory=list)

    @classmethod
    def read(cls, results: Results, curves: Curves) -> ByExperiment:
        """The panels of every experiment."""
        found = cls()
        for series in results.study.experiments:
            read = found._attempt(
                "results", series.name, lambda name: list(panels(results, curves, [name]))
            )
            found.panels[series.name] = read or []
        return found

    def of(self, what: str, make: Callable[[list[Grid]], pd.DataFrame]) -> pd.DataFrame:
        """A table; ``make`` gives an empty one for no panels."""
        return self.several(what, lambda some: {"": make(some)})[""]

    def several(self, what: str, make: Callable[[list[Grid]], Tables]) -> Tables:
        """Several tables that are made together."""
        return self.named(what, lambda names: make([p for n in names for p in self.panels[n]]))

    def named(self, what: str, make: Callable[[Collection[str]], Tables]) -> Tables:
        """As :meth:`several`, made from the experiments' names."""
        whole = Boundary().attempt(what, lambda: make(list(self.panels)), _nothing)
        if whole is not None:
            return whole
        parts = [self._attempt(what, name, lambda own: make([own])) for name in self.panels]
        made: Sequence[Tables] = [part for part in parts if part is not None] or [make([])]
        return {name: pd.concat([t[name] for t in made], ignore_index=True) for name in made[0]}

    def _attempt(self, what: str, experiment: str, make: Callable[[str], T]) -> T | None:
        name = f"{what} of experiment {experiment}"

        def refuse(why: str) -> T | None:
            self.refusals.append(f"{name} could not be made: {why}")
            return None

        return self.boundary.attempt(name, lambda: make(experiment), refuse)


def _nothing(_: str) -> None:
    return None
