"""A results folder: the only place that knows where the tables lie and how they are committed.

``runs.parquet``, ``epochs.parquet``, ``predictions.parquet`` and, where probes measured something,
``probes.parquet`` are the tables. While a sweep runs, each finished group of runs is added under
``parts/``: its epochs, predictions and probes first, its runs last, so that a group without a
readable ``runs`` part counts as not run. Merging the
parts into the tables follows the same order, and a part is deleted only after ``runs.parquet``
holds it; a crash in between leaves the group in both places, and the part wins.
"""

from __future__ import annotations

import json
import logging
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from normbench.errors import NewerResultsError, ResultsError, UnreadableResultsError
from normbench.protocol.study import Study
from normbench.results.files import atomic_write, make_folder, write_text
from normbench.results.schema import SCHEMA_VERSION, arrow_schema, to_table

log = logging.getLogger(__name__)

#: The order in which tables are written: ``runs`` is the commit record and comes last.
ORDER = ("epochs", "predictions", "probes", "runs")
#: Statuses that need no further computation.
DONE = ("finished", "diverged")


def _schema_version(table: pa.Table) -> int:
    metadata = table.schema.metadata or {}
    return int(metadata.get(b"normbench_schema", b"0"))


class Store:
    """The results folder of one protocol."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.parts = folder / "parts"

    def path(self, table: str) -> Path:
        """Where a table lies."""
        return self.folder / f"{table}.parquet"

    @property
    def exists(self) -> bool:
        """Whether a protocol was ever run here."""
        return (self.folder / "protocol.json").exists()

    # -- the protocol ---------------------------------------------------------------------

    def read_study(self) -> Study:
        """The resolved protocol of these results.

        Raises :class:`ResultsError` if there is none or if it is damaged, and its kinds
        :class:`NewerResultsError` if a newer normbench wrote it and
        :class:`UnreadableResultsError` if the system does not let it be read.
        """
        path = self.folder / "protocol.json"
        if not path.exists():
            raise ResultsError(
                f"{self.folder} holds no results: there is no protocol.json in it; "
                "run `normbench run PROTOCOL` first, or name the right folder"
            )
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            self._check_version(int(content["schema_version"]), path)
            return Study.model_validate(content["study"])
        except OSError as error:
            raise _unreadable(path, error) from None
        except (ValueError, KeyError, TypeError) as error:
            raise ResultsError(
                f"{path} is damaged, or names what is not installed here ({_first_line(error)}); "
                "`normbench run` with the protocol writes it anew"
            ) from None

    def _check_version(self, version: int, path: Path) -> None:
        if version > SCHEMA_VERSION:
            raise NewerResultsError(
                f"{path} was written by a newer normbench (results schema {version}; this one "
                f"reads up to {SCHEMA_VERSION}); upgrade normbench to read it"
            )

    def write_study(self, study: Study, source: str) -> None:
        """Store the resolved protocol, and beside it the file as its author wrote it."""
        make_folder(self.folder)
        content = {"schema_version": SCHEMA_VERSION, "study": study.model_dump(mode="json")}
        write_text(self.folder / "protocol.json", json.dumps(content, indent=1) + "\n")
        write_text(self.folder / "protocol.toml", source)

    # -- tables ---------------------------------------------------------------------------

    def read(self, table: str, *, mend: bool = False) -> pa.Table:
        """See :meth:`_read`; tries again where parts are merged away while they are read."""
        for _ in range(5):
            try:
                return self._read(table, mend)
            except FileNotFoundError:
                continue
        return self._read(table, mend)

    def _read(self, table: str, mend: bool) -> pa.Table:
        """A table with its parts merged in; empty where nothing was written yet.

        A damaged file raises :class:`ResultsError`; with ``mend`` (for the one process that may
        write) it is set aside under the ending ``.damaged`` instead, and its runs count as
        missing. A file that the system withholds is never set aside: it may be whole.
        """
        tables = []
        files = [self.path(table), *sorted(self.parts.glob(f"*.{table}.parquet"))]
        for path in files:
            if not path.exists():
                continue
            try:
                found = pq.read_table(path, page_checksum_verification=True)
                self._check_version(_schema_version(found), path)
                found = _whole_schema(found, arrow_schema(table))
            except FileNotFoundError:
                raise
            except (pa.ArrowException, OSError, ValueError) as error:
                if isinstance(error, OSError) and error.errno is not None:
                    raise _unreadable(path, error) from None
                if not mend:
                    raise ResultsError(
                        f"{path} is damaged ({_first_line(error)}); `normbench run` with "
                        "the protocol sets it aside and computes again what it held"
                    ) from None
                path.replace(_free_name(path))
                log.warning("%s was damaged and is set aside; its runs are computed again", path)
                continue
            if path.parent == self.parts and table != "runs" and not self._committed(path):
                continue
            tables.append(found)
        if not tables:
            return arrow_schema(table).empty_table()
        if len(tables) == 1:
            return tables[0]
        return _filled_in(tables) if table == "runs" else _latest(tables)

    def _committed(self, part: Path) -> bool:
        group = part.name.split(".")[0]
        return (self.parts / f"{group}.runs.parquet").exists()

    def write_group(self, group: str, rows: dict[str, list[dict[str, Any]]]) -> None:
        """Commit the rows of one finished group; ``group`` sorts after all earlier ones.

        Without rows of probes there is no such part.
        """
        make_folder(self.parts)
        for table in ORDER:
            if table == "probes" and not rows.get(table):
                continue
            content = to_table(table, rows[table])
            path = self.parts / f"{group}.{table}.parquet"
            atomic_write(path, lambda p, t=content: pq.write_table(t, p, write_page_checksum=True))  # type: ignore[misc]

    def consolidate(self, planned: list[dict[str, Any]]) -> None:
        """Merge all parts into the tables, with a row for every planned run.

        Rows stand in the plan's order. Runs that the plan no longer holds are kept behind them,
        marked as not planned: nothing that was computed is thrown away.
        """
        runs = self.read("runs", mend=True).to_pylist()
        done = {row["run_hash"]: row for row in runs if row["status"] in _COMPUTED}
        merged, seen = [], set()
        for row in planned:
            result = done.get(row["run_hash"])
            seen.add(row["run_hash"])
            if result is not None and row["status"] == "missing":
                row = {**row, **{k: result[k] for k in _RESULT}}
            merged.append(dict(row))
        for key, row in done.items():
            if key not in seen and row["status"] in DONE:
                merged.append({**row, "planned": False})
        order = {row["run_hash"]: i for i, row in reversed(list(enumerate(merged)))}
        committed = {row["run_hash"] for row in merged if row["status"] in DONE}
        make_folder(self.folder)
        parts = sorted(self.parts.glob("*.parquet"))
        epochs = self.read("epochs", mend=True)
        predictions = self.read("predictions", mend=True)
        probes = self.read("probes", mend=True)
        lost = committed - _whole_runs(epochs, predictions)
        lost |= _without_probes(merged, probes)
        for row in merged:
            if row["run_hash"] in lost:  # with a damaged file
                row |= dict.fromkeys(_RESULT) | {"status": "missing"}
        committed -= lost
        self._write("epochs", _sorted_rows(epochs, order, committed))
        self._write("predictions", _sorted_rows(predictions, order, committed))
        if probes.num_rows or self.path("probes").exists():
            self._write("probes", _sorted_rows(probes, order, committed))
        self._write("runs", to_table("runs", merged))
        for part in parts:
            part.unlink(missing_ok=True)  # a damaged one was set aside

    def _write(self, table: str, content: pa.Table) -> None:
        atomic_write(
            self.path(table),
            lambda p: pq.write_table(content, p, compression="zstd", write_page_checksum=True),
        )

    def clean(self) -> None:
        """Remove temporary files that a killed process left behind."""
        for folder in (self.folder, self.parts):
            for path in folder.glob("*.tmp"):
                path.unlink()


_COMPUTED = (*DONE, "failed", "undefined")
#: Columns of ``runs`` that a result fills in; all others come from the plan.
_RESULT = frozenset(
    {
        "status", "error", "execution_hash", "engine", "group_size", "steps", "samples",
        "seconds", "train_seconds", "eval_seconds", "probe_seconds", "probe_values",
        "peak_memory", "device", "classes",
        "label_variance", "parameters", "buffers",
    }
)  # fmt: skip


def _whole_schema(found: pa.Table, schema: pa.Schema) -> pa.Table:
    """The table in today's schema: columns that an older version did not write are empty."""
    if found.schema.equals(schema, check_metadata=True):
        return found
    names = set(found.column_names)
    for field in schema:
        if field.name not in names:
            found = found.append_column(field, pa.nulls(found.num_rows, field.type))
    if names <= set(schema.names):
        found = found.select(schema.names)
    return found.cast(schema)


def _unreadable(path: Path, error: OSError) -> UnreadableResultsError:
    return UnreadableResultsError(
        f"{path} cannot be read ({os.strerror(error.errno or 0)}); it is left as it is: allow "
        "reading it, or move it away"
    )


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _free_name(path: Path) -> Path:
    """A name for a damaged file under which no other was set aside."""
    names = (path.with_name(f"{path.name}.damaged{n}") for n in ("", *range(2, 10_000)))
    return next(name for name in names if not name.exists())


def _whole_runs(epochs: pa.Table, predictions: pa.Table) -> set[str]:
    """The runs of which nothing is lost.

    Every run has evaluations, and predictions unless it diverged at the first of them.
    """
    counts = Counter(epochs.column("run_hash").to_pylist())
    predicted = set(predictions.column("run_hash").to_pylist())
    return {key for key, count in counts.items() if count == 1 or key in predicted}


def _without_probes(runs: list[dict[str, Any]], probes: pa.Table) -> set[str]:
    """The runs that measured something, as their rows say, of which not all is there."""
    counts = Counter(probes.column("run_hash").to_pylist())
    wanted = {row["run_hash"]: row["probe_values"] or 0 for row in runs if row["status"] in DONE}
    return {key for key, count in wanted.items() if counts[key] != count}


def _filled_in(tables: list[pa.Table]) -> pa.Table:
    """The rows of the first table, with the results that the later ones hold filled in.

    A part holds a run once; the plan's rows may hold it in several experiments.
    """
    rows = tables[0].to_pylist()
    results = {row["run_hash"]: row for table in tables[1:] for row in table.to_pylist()}
    known = {row["run_hash"] for row in rows}
    for row in rows:
        if row["run_hash"] in results:
            row |= {key: results[row["run_hash"]][key] for key in _RESULT}
    return to_table("runs", rows + [row for key, row in results.items() if key not in known])


def _latest(tables: list[pa.Table]) -> pa.Table:
    """Rows of all tables; where several hold a run, those of the last one that does."""
    owner: dict[str, int] = {}
    hashes = [t.column("run_hash").to_pylist() for t in tables]
    for i, keys in enumerate(hashes):
        for key in keys:
            owner[key] = i
    kept = [
        t.filter(pa.array([owner[key] == i for key in keys], pa.bool_()))
        for i, (t, keys) in enumerate(zip(tables, hashes, strict=True))
    ]
    return pa.concat_tables(kept)


def _sorted_rows(table: pa.Table, order: dict[str, int], committed: set[str]) -> pa.Table:
    keys = table.column("run_hash").to_pylist()
    rows = [i for i, key in enumerate(keys) if key in committed]
    rows.sort(key=lambda i: order[keys[i]])
    return table.take(pa.array(rows, pa.int64()))


def latest_results(root: Path) -> Path:
    """The results folder under ``root`` that was written last."""
    found = [p.parent for p in root.glob("*/protocol.json")]
    if not found:
        raise ResultsError(f"there are no results under {root}; run `normbench run PROTOCOL` first")
    return max(found, key=lambda p: (p / "protocol.json").stat().st_mtime_ns)
