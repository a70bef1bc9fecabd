"""Merging the parts of a results folder into its tables, with a row for every planned run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from normbench.results.pieces import Pieces
from normbench.results.schema import DONE, RESULT_COLUMNS, PlannedRows, arrow_schema, to_table
from normbench.results.tables import write_file

_COMPUTED = (*DONE, "failed", "undefined")
_ROWS = 1024  # rows of the table ``runs``, which has many columns, held at once


class Merge:
    """What the parts and tables hold, against the plan's rows.

    ``pieces`` gives a table's files. Rows will stand in the plan's order; runs that it no longer
    holds follow, marked as not planned: nothing that was computed is thrown away. A run of which
    a file was lost is missing.
    """

    def __init__(self, planned: PlannedRows, pieces: Callable[..., Pieces]) -> None:
        self.planned = planned
        self.runs = pieces("runs", ("status", "probe_values"))
        self.others = {name: pieces(name) for name in ("epochs", "predictions", "probes")}
        status = {key: facts[0] for key, facts in self.runs.facts.items()}
        #: The runs of the plan, and whether a result may fill in their rows.
        order = {key: state == "missing" for key, state in planned.states()}
        self.unplanned = [k for k, found in status.items() if k not in order and found in DONE]
        results = {key for key, open_ in order.items() if open_ and status.get(key) in _COMPUTED}
        committed = [k for k in (*order, *self.unplanned) if status.get(k) in DONE]
        committed = [k for k in committed if order.get(k, True)]
        lost = {key for key in committed if not self._whole(key)}
        self.results = (results | set(self.unplanned)) - lost
        self.committed = [key for key in committed if key not in lost]

    def _whole(self, key: str) -> bool:
        """Whether nothing of a run is lost.

        Every run has evaluations, and predictions unless it diverged at the first of them; and
        as many values of probes as its row says.
        """
        epochs = self.others["epochs"].count.get(key, 0)
        predicted = key in self.others["predictions"].count
        probes = self.others["probes"].count.get(key, 0)
        wanted: Any = self.runs.facts[key][1]
        return (epochs == 1 or (epochs > 0 and predicted)) and (not wanted or probes == wanted)

    def _has(self, table: str, key: str) -> bool:
        """Whether a run has rows in a table; an earlier computation of it may have left some."""
        if table == "predictions":
            return self.others["epochs"].count.get(key, 0) > 1
        return table != "probes" or bool(self.runs.facts[key][1])

    def write(self, table: str, path: Path) -> None:
        """Write a merged table; what lay there stands until it is whole."""
        if table == "runs":
            content: Iterable[pa.Table] = self._runs()
        else:
            content = self.others[table].chunks([k for k in self.committed if self._has(table, k)])
        write_file(path, arrow_schema(table), content)

    def _runs(self) -> Iterator[pa.Table]:
        for start in range(0, len(self.planned), _ROWS):
            rows = list(self.planned[start : start + _ROWS])
            yield self._filled_in(to_table("runs", rows))
        for start in range(0, len(self.unplanned), _ROWS):
            keys = self.unplanned[start : start + _ROWS]
            rows = _one_row_each(self.runs.rows(keys), keys)
            everywhere = pa.array([True] * len(keys))
            rows = _replaced(rows, "planned", pa.array([False] * len(keys)), everywhere)
            # of those that were lost nothing is known
            gone = pa.array([key not in self.results for key in keys])
            missing = to_table("runs", [{"run_hash": key, "status": "missing"} for key in keys])
            for name in RESULT_COLUMNS:
                rows = _replaced(rows, name, missing.column(name), gone)
            yield rows

    def _filled_in(self, rows: pa.Table) -> pa.Table:
        """Planned rows with the results that there are."""
        keys = rows.column("run_hash").to_pylist()
        own = list(dict.fromkeys(key for key in keys if key in self.results))
        if not own:
            return rows
        found = _one_row_each(self.runs.rows(own), own)
        place = {key: i for i, key in enumerate(own)}
        index = pa.array([place.get(key) for key in keys], pa.int64())
        for name in RESULT_COLUMNS:
            rows = _replaced(rows, name, found.column(name).take(index), index.is_valid())
        return rows


def _replaced(table: pa.Table, name: str, by: Any, where: pa.Array) -> pa.Table:
    column = table.schema.get_field_index(name)
    field = table.schema.field(column)
    return table.set_column(column, field, pc.if_else(where, by, table.column(column)))


def _one_row_each(runs: pa.Table, keys: Sequence[str]) -> pa.Table:
    """A run of several experiments has as many rows, all with the same results."""
    last = {key: i for i, key in enumerate(runs.column("run_hash").to_pylist())}
    return runs.take(pa.array([last[key] for key in keys], pa.int64()))
