"""``timings.parquet``: what a training step of each cell costs by itself."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from normbench.errors import NewerResultsError, ResultsError, UnreadableResultsError
from normbench.results.files import first_line, make_folder
from normbench.results.schema import SCHEMA_VERSION, Field
from normbench.results.tables import check_version, opened, version_of, write_file

NAME = "timings.parquet"

_TEXT, _INT, _FLOAT = pa.string(), pa.int64(), pa.float64()

TIMINGS: tuple[Field, ...] = (
    Field("cell_hash", _TEXT, "key of the cell in runs; cells that cost the same are timed once"),
    Field("repetition", _INT, "from 0; in each, all cells take a turn, in a new order"),
    Field("forward_seconds", _FLOAT, "batch, model and loss: median over the turn's steps", "s"),
    Field("backward_seconds", _FLOAT, "the gradients: median over the turn's steps", "s"),
    Field("update_seconds", _FLOAT, "clipping and optimizer: median over the turn's steps", "s"),
    Field(
        "step_seconds",
        _FLOAT,
        "a whole step: median over the turn's steps; on an accelerator the mean of steps that are "
        "not waited for between their parts",
        "s",
    ),
    Field("memory", _FLOAT, "what a step needs besides the data set", "MiB"),
    Field(
        "memory_kind",
        _TEXT,
        "measured: the device's maximum; counted: parameters, buffers, gradients, optimizer state "
        "and what the backward pass needs",
    ),
    Field("device", _TEXT, "where it was timed"),
    Field("threads", _INT, "threads of the process"),
    Field("environment", _TEXT, "hash of machine, device and versions, as in execution.json"),
    Field("measured", _TEXT, "when, in UTC"),
)


def timings_schema() -> pa.Schema:
    """The Arrow schema of the table, with the schema version in its metadata."""
    fields = [pa.field(c.name, c.type) for c in TIMINGS]
    return pa.schema(fields, metadata={"normbench_schema": str(SCHEMA_VERSION)})


def read_timings(folder: Path) -> pa.Table:
    """The timings of a results folder; empty where it was never timed.

    Raises :class:`ResultsError` if the file is damaged, and its kinds
    :class:`NewerResultsError` if a newer normbench wrote it and
    :class:`UnreadableResultsError` if the system does not let it be read.
    """
    path, schema = folder / NAME, timings_schema()
    try:
        with opened(path) as file:
            check_version(version_of(file), path)
            return file.read().select(schema.names).cast(schema)
    except FileNotFoundError:
        return schema.empty_table()
    except (pa.ArrowException, ValueError, KeyError) as error:
        raise ResultsError(
            f"{path} is damaged ({first_line(error)}); `normbench time {folder}` measures it "
            "anew, or delete it to do without"
        ) from None


def write_timings(folder: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Store the rows of one timing pass in place of an earlier one's.

    A damaged file is replaced. Raises as :func:`read_timings` for one that is newer, or that the
    system withholds, and ``KeyError`` for a key that is no column: that is a bug of the caller.
    """
    try:
        read_timings(folder)
    except (NewerResultsError, UnreadableResultsError):
        raise
    except ResultsError:
        pass
    schema = timings_schema()
    for key in {key for row in rows for key in row} - set(schema.names):
        raise KeyError(f"timings has no column {key!r}")
    table = pa.Table.from_pylist(list(rows), schema=schema)
    make_folder(folder)
    write_file(folder / NAME, schema, [table])
