"""Reading one file of a table: its checksums, its schema version, and what is wrong with it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from normbench.errors import NewerResultsError, ResultsError, UnreadableResultsError
from normbench.results.schema import SCHEMA_VERSION, arrow_schema


class DamagedError(ResultsError):
    """A file that is no table, or not all of one."""


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
    with _opened(path, table, wanted) as (file, present):
        for index in range(file.num_row_groups) if only is None else [only]:
            # for the few rows of a part, Arrow's threads cost more than they save
            found = file.read_row_group(index, columns=present, use_threads=False)
            yield _whole_schema(found, table, wanted)


def first_line(error: Exception) -> str:
    """What an error says, in a line."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def unreadable(path: Path, error: OSError) -> UnreadableResultsError:
    """The error for a file that the system does not let be read."""
    return UnreadableResultsError(
        f"{path} cannot be read ({os.strerror(error.errno or 0)}); it is left as it is: allow "
        "reading it, or move it away"
    )


@contextmanager
def _opened(
    path: Path, table: str, wanted: Sequence[str]
) -> Iterator[tuple[pq.ParquetFile, list[str]]]:
    """A table's file, and those of the columns that it has: an older version wrote fewer.

    What is wrong with it is told as this module's errors.
    """
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            schema = file.schema_arrow
            held = set(schema.names)
            check_version(int((schema.metadata or {}).get(b"normbench_schema", b"0")), path)
            foreign = sorted(held - set(arrow_schema(table).names))
            if foreign:
                raise ValueError(f"{table} has no column {foreign[0]!r}")
            yield file, [name for name in wanted if name in held]
    except FileNotFoundError:
        raise
    except (pa.ArrowException, OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise unreadable(path, error) from None
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
