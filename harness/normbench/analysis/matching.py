"""The cells of two result sets side by side: found again by their axes, with what differs."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from typing import Any

import pandas as pd

from normbench.analysis import reasons
from normbench.analysis.cells import CellCurves, panels
from normbench.analysis.curves import computed_curves
from normbench.analysis.settings import setting_axes
from normbench.protocol.choice import Choice
from normbench.protocol.schema import AXES
from normbench.protocol.study import Experiment
from normbench.results.codes import codes_of
from normbench.results.contents import Recorded, name_of_row
from normbench.results.load import Results


@dataclass(frozen=True)
class Located:
    """A cell with all its axes as plain values, and its place in its study."""

    cell: CellCurves
    series: Experiment
    axes: dict[str, Any]
    data: Recorded | None


@dataclass(frozen=True)
class Match:
    """A cell of A and the one of B that answers to it; ``differs`` says in what they differ."""

    a: Located
    b: Located
    differs: tuple[str, ...]

    @property
    def same_runs(self) -> bool:
        """Whether both plan the same runs: their content hashes are equal, seed by seed."""
        return self.a.cell.cell_hash == self.b.cell.cell_hash


@dataclass(frozen=True)
class Matching:
    """The matched cells in A's order, and those of one side alone."""

    matches: list[Match]
    only_a: list[Located]
    only_b: list[Located]


def match_cells(a: Results, b: Results) -> Matching:
    """Match the cells of two result sets by their axes.

    Equal cells come first, those of equally named experiments before others. Then cells may
    differ in what their experiments do not vary: they must share the data set, the norm, the
    batch size and the other varied axes, and be the only ones on either side that do. A cell
    is matched once, or not at all.
    """
    left, right = list(_located(a)), list(_located(b))
    varied = {axis for one in (*left, *right) for axis in setting_axes(one.series)}
    order = {id(one): place for place, one in enumerate(left)}
    matches: list[Match] = []
    for key in _keys(sorted(varied)):
        ones, others = _by(key, left), _by(key, right)
        found = [
            (mine[0], others[name][0])
            for name, mine in ones.items()
            if len(mine) == 1 and len(others.get(name, [])) == 1
        ]
        matches += [Match(one, other, tuple(_differences(one, other))) for one, other in found]
        gone = {id(cell) for pair in found for cell in pair}
        left = [one for one in left if id(one) not in gone]
        right = [one for one in right if id(one) not in gone]
    return Matching(sorted(matches, key=lambda match: order[id(match.a)]), left, right)


def _located(results: Results) -> Iterator[Located]:
    curves = computed_curves(results)
    runs = results.runs[results.runs["phase"] == "evaluation"]
    firsts = runs.drop_duplicates(["experiment", "cell_hash"])
    rows = {(r["experiment"], r["cell_hash"]): r for r in firsts.to_dict("records")}
    contents = results.contents
    for panel in panels(results, curves):
        for cell in panel.cells.values():
            row = rows[(cell.experiment, cell.cell_hash)]
            axes = {str(name): _plain(value) for name, value in row.items()}
            yield Located(cell, panel.series, axes, contents.get(name_of_row(axes)))


def _plain(value: Any) -> Any:
    """A table's value as a plain one: None where the axis is not set, whole numbers whole."""
    if value is None or value is pd.NA or value != value:
        return None
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _base(one: Located, axis: str) -> str:
    """The name of a component, without its parameters."""
    label = str(one.axes[axis])
    chosen = (getattr(cell, axis) for cell in one.series.cells)
    found = (c.name for c in chosen if isinstance(c, Choice) and c.label == label)
    return next(found, label)


def _keys(varied: list[str]) -> list[Callable[[Located], Hashable]]:
    """What cells must share to be matched, the strictest first."""

    def whole(one: Located) -> Hashable:
        return tuple((name, str(one.axes.get(name))) for name in _names())

    def place(one: Located) -> Hashable:
        others = tuple(str(one.axes[axis]) for axis in varied)
        return _base(one, "dataset"), one.cell.batch_size, others

    return [
        lambda one: (one.cell.experiment, whole(one)),
        whole,
        lambda one: (one.cell.experiment, one.cell.norm, place(one)),
        lambda one: (one.cell.experiment, _base(one, "norm"), place(one)),
        lambda one: (one.axes["model"], one.cell.norm, place(one)),
    ]


def _names() -> list[str]:
    """The axes, and the parameters of the components among them."""
    return [*AXES, *(f"{axis}_params" for axis in ("dataset", "model", "norm", "optimizer",
                                                   "lr_schedule"))]  # fmt: skip


def _by(key: Callable[[Located], Hashable], cells: list[Located]) -> dict[Hashable, list[Located]]:
    found: dict[Hashable, list[Located]] = {}
    for cell in cells:
        found.setdefault(key(cell), []).append(cell)
    return found


def _differences(a: Located, b: Located) -> Iterator[str]:
    """What differs between two cells, in words: axes changed, added or removed, and the data."""
    for axis in AXES:
        old, new = a.axes.get(axis), b.axes.get(axis)
        if old == new:
            old, new = a.axes.get(f"{axis}_params"), b.axes.get(f"{axis}_params")
        if old == new:
            continue
        if old is None:
            yield f"{axis} added: {new}"
        elif new is None:
            yield f"{axis} removed: was {old}"
        else:
            yield f"{axis}: {old} → {new}"
    codes = ({c.component: c.label for c in codes_of(x.axes.get("code"))} for x in (a, b))
    old_code, new_code = codes
    for key in sorted(old_code.keys() | new_code.keys()):
        if old_code.get(key) != new_code.get(key):
            was, now = (known.get(key, "not recorded") for known in (old_code, new_code))
            yield f"code of the {key}: {was} → {now}"
    if a.data and b.data and not a.data.same(b.data.content):
        yield reasons.data_content(_base(a, "dataset"))
