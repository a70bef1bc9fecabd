"""A results folder: the only place that knows where the tables lie and how they are committed.

``runs.parquet``, ``epochs.parquet``, ``predictions.parquet`` and, where probes measured something,
``probes.parquet`` are the tables. While a sweep runs, each finished group of runs is added under
``parts/``: its epochs, predictions and probes first, its runs last, so that a group without a
readable ``runs`` part counts as not run. Merging the
parts into the tables follows the same order, and a part is deleted only after ``runs.parquet``
holds it; a crash in between leaves the group in both places, and the part wins. Only files of
these exact names are read or deleted: others in the folder are somebody else's.
"""

from __future__ import annotations

import functools
import re
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from normbench.catalog import CHOICE_AXES
from normbench.catalog.fingerprints import NO_CODE, Fingerprints
from normbench.errors import ResultsError, WorkError
from normbench.protocol.choice import Stored
from normbench.protocol.study import Study
from normbench.results.files import (
    damaged,
    first_line,
    make_folder,
    read_object,
    write_object,
    write_text,
)
from normbench.results.merge import Merge
from normbench.results.migrate import Document, migrated
from normbench.results.pieces import Pieces
from normbench.results.schema import (
    RESULT_COLUMNS,
    SCHEMA_VERSION,
    PlannedRows,
    arrow_schema,
    to_table,
)
from normbench.results.tables import check_version, read_file, write_file

#: The order in which tables are written: ``runs`` is the commit record and comes last.
ORDER = ("epochs", "predictions", "probes", "runs")
_PART = re.compile(rf"\d{{6,}}\.({'|'.join(ORDER)})\.parquet")
#: What a killed process leaves of a file that it was writing in the results folder.
_TEMPORARY = re.compile(
    rf"(({'|'.join(ORDER)}|timings)\.parquet|protocol\.toml"
    r"|(protocol|provenance|execution|data|decisions|registration)\.json)\.\d+\.tmp"
)
_TEMPORARY_PART = re.compile(_PART.pattern + r"\.\d+\.tmp")
#: What moving ``protocol.json`` away means.
_WITHOUT = (
    "then `normbench run` takes the folder for that of the protocol which it is given, whose name "
    "must be that of the present results"
)


class Store:
    """The results folder of one protocol."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.parts = folder / "parts"
        self._held: tuple[int, int] | None = None

    # -- the folder -----------------------------------------------------------------------

    def hold(self) -> None:
        """Begin to write: from here on this very folder is meant, not whatever bears its name.

        Raises :class:`ResultsError` where its parts lie elsewhere: they are deleted once merged,
        and nothing outside of the folder may be.
        """
        if self.parts.is_symlink():
            raise ResultsError(
                f"{self.parts} is a link out of the results folder; normbench deletes parts once "
                "they are merged, and nothing elsewhere: put a folder in its place, or link the "
                "whole results folder"
            )
        found = self.folder.stat()
        self._held = found.st_dev, found.st_ino

    def check_held(self) -> None:
        """Raises :class:`WorkError` where the folder that is held is no longer in its place."""
        if self._held is None:
            return
        try:
            found = self.folder.stat()
            gone = (found.st_dev, found.st_ino) != self._held
        except FileNotFoundError:
            gone = True
        if gone:
            raise WorkError(
                f"the results folder {self.folder} was removed or moved while runs were computed; "
                "what was finished before is where it was moved to, if anywhere: move it back, "
                "then run the same command again"
            )

    def path(self, table: str) -> Path:
        """Where a table lies."""
        return self.folder / f"{table}.parquet"

    @property
    def exists(self) -> bool:
        """Whether a protocol was ever run here."""
        return (self.folder / "protocol.json").exists()

    # -- the protocol ---------------------------------------------------------------------

    def read_document(self) -> Document:
        """What ``protocol.json`` holds: the resolved protocol as plain data, and the code.

        Raises :class:`ResultsError` if there is none or if it is damaged, and its kinds
        :class:`NewerResultsError` if a newer normbench wrote it and
        :class:`UnreadableResultsError` if the system does not let it be read.
        """
        path = self.folder / "protocol.json"
        content = read_object(path, _WITHOUT)
        if content is None:
            raise ResultsError(
                f"{self.folder} holds no results: there is no protocol.json in it; "
                "run `normbench run PROTOCOL` first, or name the right folder"
            )
        try:
            version = int(content["schema_version"])
            check_version(version, path)
            return migrated(content, version)
        except (ValueError, KeyError, TypeError) as error:
            raise damaged(path, error, _WITHOUT) from None

    def read_study(self) -> Study:
        """The resolved protocol of these results; raises as :meth:`read_document`.

        It may name components that are not installed here.
        """
        study = self.read_document().study
        try:
            return Study.model_validate(study, context=Stored(functools.cache(self._labels)))
        except (ValueError, KeyError, TypeError) as error:
            raise ResultsError(
                f"{self.folder / 'protocol.json'} is damaged, or names what is not installed here "
                f"({first_line(error)}); `normbench run` with the protocol writes it anew"
            ) from None

    def _labels(self) -> dict[tuple[str, str, str], str]:
        """What the table of runs calls components, by kind, name and parameters."""
        columns = [name for axis in CHOICE_AXES for name in (axis, f"{axis}_params")]
        rows = self.read("runs", ["run_hash", *columns]).to_pylist()
        return {
            (catalog.kind, row[axis].partition("(")[0], row[f"{axis}_params"]): row[axis]
            for row in rows
            for axis, catalog in CHOICE_AXES.items()
            if row[axis] is not None
        }

    def write_study(self, study: Study, source: str, code: Fingerprints = NO_CODE) -> None:
        """Store the resolved protocol, and beside it the file as its author wrote it.

        ``code`` is that of the components of other packages that its runs use.
        """
        make_folder(self.folder)
        content = {
            "schema_version": SCHEMA_VERSION,
            "study": study.model_dump(mode="json"),
            "code": [code[key].record() for key in sorted(code)],
        }
        write_object(self.folder / "protocol.json", content)
        write_text(self.folder / "protocol.toml", source)

    # -- tables ---------------------------------------------------------------------------

    def read(self, table: str, columns: Sequence[str] | None = None) -> pa.Table:
        """A table with its parts merged in; empty where nothing was written yet.

        With ``columns``, only these, ``run_hash`` among them. Raises :class:`ResultsError` for a
        damaged file.
        """
        for _ in range(5):
            try:
                return self._read(table, columns)
            except FileNotFoundError:  # parts are merged away while they are read
                continue
        return self._read(table, columns)

    def _read(self, table: str, columns: Sequence[str] | None) -> pa.Table:
        tables = []
        for path in self._files(table):
            found = read_file(path, table, columns)
            if self._committed(path):
                tables.append(found)
            elif not path.exists():  # merged away with its group since it was read
                raise FileNotFoundError(path)
        if not tables:
            empty = arrow_schema(table).empty_table()
            return empty if columns is None else empty.select(list(columns))
        if len(tables) == 1:
            return tables[0]
        return _filled_in(tables) if table == "runs" else _latest(tables)

    def _files(self, table: str) -> list[Path]:
        files = [self.path(table), *self._parts(table)]
        return [path for path in files if path.exists()]

    def _parts(self, *tables: str) -> list[Path]:
        """The parts of these tables, or all, in the order of their groups."""
        if not self.parts.is_dir():
            return []
        found = ((path, _PART.fullmatch(path.name)) for path in self.parts.iterdir())
        return sorted(path for path, name in found if name and (not tables or name[1] in tables))

    def _committed(self, path: Path) -> bool:
        """Whether a file counts: a part does so with its group's ``runs``, which came last."""
        group = path.name.split(".")[0]
        return path.parent != self.parts or (self.parts / f"{group}.runs.parquet").exists()

    def write_group(self, group: str, rows: dict[str, list[dict[str, Any]]]) -> None:
        """Commit the rows of one finished group; ``group`` sorts after all earlier ones.

        Without rows of probes there is no such part.
        """
        self.check_held()
        make_folder(self.parts)
        for table in ORDER:
            if table == "probes" and not rows.get(table):
                continue
            content = to_table(table, rows[table])
            write_file(self.parts / f"{group}.{table}.parquet", content.schema, [content])

    def consolidate(self, planned: PlannedRows) -> None:
        """Merge all parts into the tables, with a row for every planned run.

        See :class:`Merge` for the rows and their order. What it holds in memory does not grow
        with the tables, but for every run's hash, status and place.
        """
        self.check_held()
        make_folder(self.folder)
        parts = self._parts()
        merge = Merge(planned, self._pieces)
        for table in ORDER:
            if table != "probes" or merge.others[table].count or self.path(table).exists():
                merge.write(table, self.path(table))
        for part in parts:
            part.unlink(missing_ok=True)  # a damaged one was set aside

    def _pieces(self, table: str, facts: Sequence[str] = ()) -> Pieces:
        return Pieces(table, self._files(table), self._committed, facts)

    def clean(self) -> None:
        """Remove temporary files that a killed process left behind."""
        for path in self._left_behind():
            path.unlink()

    def _left_behind(self) -> Iterator[Path]:
        for folder, name in ((self.folder, _TEMPORARY), (self.parts, _TEMPORARY_PART)):
            for path in list(folder.iterdir()) if folder.is_dir() else []:
                if name.fullmatch(path.name) and stat.S_ISREG(path.lstat().st_mode):
                    yield path


def _filled_in(tables: list[pa.Table]) -> pa.Table:
    """The rows of the first table, with the results that the later ones hold filled in.

    A part holds a run once; the plan's rows may hold it in several experiments.
    """
    rows = tables[0].to_pylist()
    results = {row["run_hash"]: row for table in tables[1:] for row in table.to_pylist()}
    known = {row["run_hash"] for row in rows}
    filled = [name for name in tables[0].column_names if name in RESULT_COLUMNS]
    for row in rows:
        if row["run_hash"] in results:
            row |= {name: results[row["run_hash"]][name] for name in filled}
    rows += [row for key, row in results.items() if key not in known]
    return to_table("runs", rows).select(tables[0].column_names)


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


def latest_results(root: Path) -> Path:
    """The results folder under ``root`` that was written last."""
    found = [p.parent for p in root.glob("*/protocol.json")]
    if not found:
        raise ResultsError(f"there are no results under {root}; run `normbench run PROTOCOL` first")
    return max(found, key=lambda p: (p / "protocol.json").stat().st_mtime_ns)
