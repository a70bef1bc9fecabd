"""Where everything stands on the page: ids, numbers of tables and figures, levels of headings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby

from normbench.report.blocks import Block, Figure, Overview, Page, Section, Table
from normbench.report.clean import identifier


@dataclass(frozen=True)
class Placed:
    """A block with its place: its id and its number among the tables or figures, if it has them."""

    kind: str
    block: Block
    id: str = ""
    number: int = 0


@dataclass(frozen=True)
class PlacedSection:
    """A section with its place. Blocks come in rows; narrow figures in a row stand side by side."""

    id: str
    title: str
    level: int
    rows: list[list[Placed]]
    parts: list[PlacedSection]


@dataclass
class Layout:
    """The places given so far. ``ids`` leads from anchors to ids, ``parts`` are the sections."""

    parts: list[PlacedSection] = field(default_factory=list)
    ids: dict[str, str] = field(default_factory=dict)
    _taken: set[str] = field(default_factory=lambda: {"top", "contents", "report"})
    _counts: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, page: Page) -> Layout:
        """Place everything on a page, from top to bottom."""
        layout = cls()
        layout.parts = [layout._part(section, 2) for section in page.sections]
        return layout

    def _part(self, section: Section, level: int) -> PlacedSection:
        place = self._id(section.anchor)
        rows = list(_rows([self._block(block) for block in section.blocks]))
        parts = [self._part(part, level + 1) for part in section.parts]
        return PlacedSection(place, section.title, min(level, 6), rows, parts)

    def _block(self, block: Block) -> Placed:
        kind = type(block).__name__.lower()
        if isinstance(block, Overview):
            return Placed(kind, block, self._id(block.anchor))
        if not isinstance(block, Table | Figure):
            return Placed(kind, block)
        self._counts[kind] = self._counts.get(kind, 0) + 1
        return Placed(kind, block, self._id(block.anchor), self._counts[kind])

    def _id(self, anchor: str) -> str:
        wanted = found = identifier(anchor)
        again = 1
        while found in self._taken:
            again += 1
            found = f"{wanted}-{again}"
        self._taken.add(found)
        self.ids.setdefault(anchor, found)
        return found


def _rows(blocks: Iterable[Placed]) -> Iterator[list[Placed]]:
    def narrow(placed: Placed) -> bool:
        return isinstance(placed.block, Figure) and not placed.block.wide

    for together, group in groupby(blocks, narrow):
        found = list(group)
        yield from [found] if together else [[placed] for placed in found]
