"""One file of a table: writing it with its checksums, reading it, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pyarrow as pa
import pyarrow.parquet as pq

from normbench.errors import NewerResultsError
from normbench.results.digest import fits, seal
from normbench.results.files import (
    DamagedError,
    atomic_write,
    first_line,
    open_stored,
    unreadable,
)
from normbench.results.schema import SCHEMA_VERSION, arrow_schema

#: The first schema version of which every file holds a digest.
DIGESTS_SINCE = 3


def version_of(file: pq.ParquetFile) -> int:
    """The schema version that a file's metadata name; 0 where they name none."""
    return int((file.schema_arrow.metadata or {}).get(b"normbench_schema", b"0"))


def check_version(version: int, path: Path) -> None:
    """Raises :class:`NewerResultsError` for a file that a newer normbench wrote."""
    if version > SCHEMA_VERSION:
        raise NewerResultsError(
            f"{path} was written by a newer normbench (results schema {version}; this one "
            f"reads up to {SCHEMA_VERSION}); upgrade normbench to read it"
        )


def read_file(path: Path, table: str, columns: Sequence[str] | None = None) -> pa.Table:
    """A file of a table, in today's schema; with ``columns``, only these.

    Raises :class:`DamagedError`, :class:`NewerResultsError`, :class:`UnreadableResultsError`
    where the system withholds the file (it may be whole), and ``FileNotFoundError``.
    """
    wanted = arrow_schema(table).names if columns is None else list(columns)
    with _opened(path, table, wanted) as (file, present):
        return _whole_schema(file.read(columns=present), table, wanted)


def row_groups(path: Path, table: str, only: int | None = None) -> Iterator[pa.Table]:
    """A file's row groups, one after the other, or one of them; raises as :func:`read_file`."""
    wanted = arrow_schema(table).names
    with _opened(path, table, wanted, whole=only is None) as (file, present):
        for index in range(file.num_row_groups) if only is None else [only]:
            # for the few rows of a part, Arrow's threads cost more than they save
            found = file.read_row_group(index, columns=present, use_threads=False)
            yield _whole_schema(found, table, wanted)


def write_file(path: Path, schema: pa.Schema, content: Iterable[pa.Table]) -> None:
    """Write a table's file whole, a row group for each table of ``content``."""

    def write(file: IO[bytes]) -> None:
        with pq.ParquetWriter(file, schema, compression="zstd", write_page_checksum=True) as writer:
            for table in content:
                writer.write_table(table)
        seal(file)

    atomic_write(path, write)


@contextmanager
def opened(path: Path, *, whole: bool = True) -> Iterator[pq.ParquetFile]:
    """A parquet file of ours; with ``whole`` its digest is checked.

    Raises ``ValueError`` and Arrow's errors where it is damaged, ``FileNotFoundError``, and
    :class:`UnreadableResultsError`. Arrow is given the file and never its name, in which it would
    look for an address.
    """
    with open_stored(path) as file:
        try:
            fit = fits(file) if whole else True
            if fit is False:
                raise ValueError("its content does not fit its digest")
            with pq.ParquetFile(file, page_checksum_verification=True) as found:
                if fit is None and DIGESTS_SINCE <= version_of(found) <= SCHEMA_VERSION:
                    raise ValueError("its digest is missing or damaged")
                yield found
        except OSError as error:
            if error.errno is None:  # Arrow's own, of what it found in the file
                raise ValueError(first_line(error)) from None
            raise unreadable(path, error) from None


@contextmanager
def _opened(
    path: Path, table: str, wanted: Sequence[str], *, whole: bool = True
) -> Iterator[tuple[pq.ParquetFile, list[str]]]:
    """A table's file, and those of the columns that it has: an older version wrote fewer.

    What is wrong with it is told as this module's errors.
    """
    try:
        with opened(path, whole=whole) as file:
            schema = file.schema_arrow
            held = set(schema.names)
            check_version(version_of(file), path)
            foreign = sorted(held - set(arrow_schema(table).names))
            if foreign:
                raise ValueError(f"{table} has no column {foreign[0]!r}")
            yield file, [name for name in wanted if name in held]
    except (pa.ArrowException, ValueError) as error:
        raise DamagedError(
            f"{path} is damaged ({first_line(error)}); `normbench run` with "
            "the protocol sets it aside and computes again what it held"
        ) from None


def _whole_schema(found: pa.Table, table: str, wanted: Sequence[str]) -> pa.Table:
    """The table with the wanted columns in today's types; those it lacks are empty."""
    schema = arrow_schema(table)
    schema = pa.schema([schema.field(name) for name in wanted], schema.metadata)
    if found.schema.equals(schema, check_metadata=True):
        return found
    for field in schema:
        if field.name not in found.column_names:
            found = found.append_column(field, pa.nulls(found.num_rows, field.type))
    return found.select(schema.names).cast(schema)
