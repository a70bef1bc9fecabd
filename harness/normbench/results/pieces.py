"""The rows of a table that lies in several files, some of them at a time.

A sweep's tables may be larger than the memory that merging them should take: a file is read by its
row groups, and of all rows only the run's hash and the place are kept.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pyarrow as pa

from normbench.results.files import DamagedError, set_aside
from normbench.results.schema import arrow_schema
from normbench.results.tables import row_groups

log = logging.getLogger(__name__)

#: Rows that are held at once, and in a row group of a merged table. Those of predictions hold a
#: value for every item.
ROWS = {"predictions": 1 << 10}
_ROWS = 1 << 14


class Pieces:
    """The files of a table. Where several hold a run, the last one that does counts.

    For the one process that may write: a damaged file is set aside under the ending
    ``.damaged``, and its runs count as missing. One that the system withholds is never set
    aside: it may be whole. A file that ``counts`` denies is checked only. ``facts`` are columns of
    which a run's value is kept.
    """

    def __init__(
        self,
        table: str,
        files: Sequence[Path],
        counts: Callable[[Path], bool],
        facts: Sequence[str] = (),
    ) -> None:
        self.table = table
        self.facts: dict[str, tuple[object, ...]] = {}
        #: Of each run: how many rows it has, and the row groups in which they lie.
        self.count: dict[str, int] = {}
        self._places: dict[str, tuple[int, ...]] = {}
        self._groups: list[tuple[Path, int]] = []
        self._most = ROWS.get(table, _ROWS)
        self._read: dict[int, pa.Table] = {}  # the row groups that are held
        self._held = 0  # their rows
        self._counts = counts
        for path in files:
            self._scan(path, facts)

    def _scan(self, path: Path, facts: Sequence[str]) -> None:
        """Note what a file holds; all of it is read, so that damage is found before anything."""
        count: dict[str, int] = {}
        places: dict[str, tuple[int, ...]] = {}
        noted: dict[str, tuple[object, ...]] = {}
        first = len(self._groups)
        try:
            for index, group in enumerate(row_groups(path, self.table)):
                keys, *values = (group.column(c).to_pylist() for c in ("run_hash", *facts))
                for i, key in enumerate(keys):
                    if key not in places:
                        places[key] = (first + index,)
                    elif places[key][-1] != first + index:
                        places[key] += (first + index,)
                    count[key] = count.get(key, 0) + 1
                    if values:
                        noted[key] = tuple(column[i] for column in values)
                if self._held + group.num_rows <= self._most:
                    self._hold(first + index, group)
                self._groups.append((path, index))
        except DamagedError as error:
            self._forget(first)
            set_aside(path)
            log.warning("%s was damaged and is set aside; its runs are computed again (%s)",
                        path, error)  # fmt: skip
            return
        if not self._counts(path):
            self._forget(first)
            return
        self.facts |= noted
        self.count |= count
        self._places |= places

    def rows(self, keys: Sequence[str]) -> pa.Table:
        """The rows of these runs in the order given; a run's own as they lie in its file."""
        rank = {key: i for i, key in enumerate(keys)}
        wanted: dict[int, set[str]] = {}
        for key in keys:
            for place in self._places.get(key, ()):
                wanted.setdefault(place, set()).add(key)
        tables, ranks = [arrow_schema(self.table).empty_table()], []
        for place in sorted(wanted):
            group = self._group(place)
            found = group.column("run_hash").to_pylist()
            chosen = [i for i, key in enumerate(found) if key in wanted[place]]
            tables.append(group.take(pa.array(chosen, pa.int64())))
            ranks += [rank[found[i]] for i in chosen]
        order = sorted(range(len(ranks)), key=ranks.__getitem__)
        return pa.concat_tables(tables).take(pa.array(order, pa.int64())).combine_chunks()

    def _group(self, place: int) -> pa.Table:
        if place not in self._read:
            path, index = self._groups[place]
            (found,) = row_groups(path, self.table, only=index)
            while self._read and self._held + found.num_rows > self._most:
                # in the plan's order the first is done with
                self._held -= self._read.pop(next(iter(self._read))).num_rows
            self._hold(place, found)
        return self._read[place]

    def _hold(self, place: int, group: pa.Table) -> None:
        self._read[place] = group
        self._held += group.num_rows

    def _forget(self, first: int) -> None:
        """The row groups from this one on do not count."""
        del self._groups[first:]
        for place in [place for place in self._read if place >= first]:
            self._held -= self._read.pop(place).num_rows

    def chunks(self, keys: Sequence[str]) -> Iterator[pa.Table]:
        """The rows of these runs, a bounded number of rows at a time; one table at least."""
        chunk: list[str] = []
        rows, empty = 0, True
        for key in keys:
            chunk.append(key)
            rows += self.count.get(key, 0)
            if rows >= self._most:
                yield self.rows(chunk)
                chunk, rows, empty = [], 0, False
        if rows or empty:
            yield self.rows(chunk)
