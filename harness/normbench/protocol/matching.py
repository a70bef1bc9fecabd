"""Which cells of an experiment have given axis values, found without looking at every cell."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any

from normbench.protocol.schema import Cell


class CellIndex:
    """The places of cells by the values of their axes; an axis is indexed when first asked for.

    A thousand claims on thousands of cells ask some ten thousand times.
    """

    def __init__(self, cells: Sequence[Cell]) -> None:
        self.cells = cells
        self._places: dict[str, dict[Hashable, set[int]]] = {}

    def fitting(self, axes: Mapping[str, Any]) -> set[int]:
        """The places of the cells that have all these values; of all cells where none is given.

        A component is given as a value, or by its name or label as a text.
        """
        found = set(range(len(self.cells)))
        for axis, wanted in axes.items():
            found &= self._axis(axis).get(wanted, set())
        return found

    def by_batch_size(self, places: set[int]) -> dict[int, list[int]]:
        """Places in order, by the batch size of their cells."""
        sizes: dict[int, list[int]] = defaultdict(list)
        for place in sorted(places):
            sizes[self.cells[place].batch_size].append(place)
        return sizes

    def _axis(self, axis: str) -> dict[Hashable, set[int]]:
        if axis not in self._places:
            places: dict[Hashable, set[int]] = defaultdict(set)
            for place, cell in enumerate(self.cells):
                for key in _keys(getattr(cell, axis)):
                    places[key].add(place)
            self._places[axis] = dict(places)
        return self._places[axis]


def _keys(value: Any) -> Iterator[Hashable]:
    """A value, and the texts by which a component may be asked for."""
    yield value
    if hasattr(value, "label"):
        yield value.name
        yield value.label
