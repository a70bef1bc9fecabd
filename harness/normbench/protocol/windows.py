"""How many evaluations an endpoint averages, held against how many a run has.

The evaluation before training is no result: a window counts those after it. One that is declared
longer would quietly average over fewer than it says, so it is a fault; where none is declared it is
three, or as many as there are. A run that ``--set`` makes shorter shortens the window with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from normbench.errors import Fault
from normbench.protocol.schema import BUDGETS, Cell

DEFAULT_WINDOW = 3
#: The axes that decide how often a run is evaluated.
_LENGTHS = {*BUDGETS, "evaluations", "evaluations_per_epoch"}


@dataclass
class Windows:
    """Finds windows and collects what is to be said of them.

    ``shorten`` says that a window longer than the runs is cut, with a warning, not refused.
    """

    shorten: bool = False
    faults: list[Fault] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def found(self, declared: int | None, cells: Sequence[Cell], path: str, of: str) -> int:
        """The window over the runs of ``cells``; ``path`` is where it is, ``of`` whose it is."""
        most = min(cell.most_evaluations for cell in cells)
        if declared is None:
            return min(DEFAULT_WINDOW, most)
        if declared > most:
            has = f"{most} evaluation{'s' if most > 1 else ''}"
            rule = (
                f"a window is at most the evaluations of a run after its start; a run of {of} has "
                f"{has}"
            )
            if self.shorten:
                self.warnings.append(f"{path}: {rule}; {declared} is read as {most}")
            else:
                fix = f"window = {most} for it, or at least {declared} evaluations in its runs"
                self.faults.append(Fault(path, str(declared), rule, fix))
        return min(declared, most)


def shortens(overrides: Sequence[str]) -> bool:
    """Whether ``key=value`` overrides may make runs shorter than a window, and set none."""
    keys = {one.partition("=")[0].strip().rpartition(".")[2].strip() for one in overrides}
    return bool(keys & _LENGTHS) and "window" not in keys
