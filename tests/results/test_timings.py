"""The table ``timings``: kept whole, told when damaged, joined to the runs by cell."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from normbench.errors import NewerResultsError, ResultsError
from normbench.results.document import documentation
from normbench.results.load import load
from normbench.results.schema import SCHEMA_VERSION
from normbench.results.timings import (
    NAME,
    TIMINGS,
    read_timings,
    timings_schema,
    write_timings,
)
from tests.results.test_damage import KINDS, damage
from tests.support import TINY, made_up


def rows(*cells: str, repetitions: int = 3) -> list[dict]:
    return [
        {
            "cell_hash": key, "repetition": i, "forward_seconds": 0.1, "backward_seconds": 0.2,
            "update_seconds": 0.01, "step_seconds": 0.31, "memory": 1.5, "memory_kind": "counted",
            "device": "cpu", "threads": 1, "environment": "e", "measured": "now",
        }
        for key in cells
        for i in range(repetitions)
    ]  # fmt: skip


def test_columns_are_described_once_and_carry_the_version():
    names = [c.name for c in TIMINGS]
    assert len(names) == len(set(names))
    assert all(c.doc for c in TIMINGS)
    assert [c.unit for c in TIMINGS if c.name.endswith("_seconds")] == ["s"] * 4
    assert timings_schema().metadata == {b"normbench_schema": str(SCHEMA_VERSION).encode()}
    assert all(f"`{name}`" in documentation() for name in names)


def test_what_was_written_is_read_and_a_new_pass_replaces_it(tmp_path):
    assert read_timings(tmp_path).num_rows == 0
    write_timings(tmp_path, rows("a", "b"))
    assert read_timings(tmp_path).to_pylist() == rows("a", "b")
    write_timings(tmp_path, rows("b", repetitions=5))
    assert read_timings(tmp_path).to_pylist() == rows("b", repetitions=5)
    assert [p.name for p in tmp_path.iterdir()] == [NAME]


def test_an_unknown_column_is_a_bug_and_an_absent_value_is_null(tmp_path):
    with pytest.raises(KeyError, match="step_second"):
        write_timings(tmp_path, [{"cell_hash": "a", "step_second": 1.0}])
    write_timings(tmp_path, [{"cell_hash": "a", "repetition": 0}])
    assert read_timings(tmp_path)["step_seconds"].null_count == 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_file_is_told_and_replaced_by_the_next_pass(tmp_path, kind):
    write_timings(tmp_path, rows("a"))
    damage(tmp_path / NAME, kind)
    with pytest.raises(ResultsError, match=rf"{NAME} is damaged.*normbench time"):
        read_timings(tmp_path)
    write_timings(tmp_path, rows("b"))
    assert read_timings(tmp_path).num_rows == 3


def test_a_flipped_bit_is_damage(tmp_path):
    write_timings(tmp_path, rows(*"abcdefgh", repetitions=30))
    path = tmp_path / NAME
    content = bytearray(path.read_bytes())
    content[60] ^= 0x10  # within the first page
    path.write_bytes(bytes(content))
    with pytest.raises(ResultsError, match="damaged"):
        read_timings(tmp_path)


def test_a_newer_file_is_refused_and_left_alone(tmp_path):
    write_timings(tmp_path, rows("a"))
    path = tmp_path / NAME
    metadata = {"normbench_schema": str(SCHEMA_VERSION + 1)}
    table = pq.read_table(path).append_column("new", pa.nulls(3))
    pq.write_table(table.replace_schema_metadata(metadata), path)
    before = path.read_bytes()
    for call in (lambda: read_timings(tmp_path), lambda: write_timings(tmp_path, rows("b"))):
        with pytest.raises(NewerResultsError, match="newer normbench"):
            call()
    assert path.read_bytes() == before


def test_timings_join_the_runs_by_cell(tmp_path):
    folder = made_up(tmp_path, TINY, lambda run: ("finished", [0.1, 0.5])).folder
    found = load(folder)
    assert found.timings.empty
    assert list(found.timings.columns) == [c.name for c in TIMINGS]
    cells = list(dict.fromkeys(found.runs["cell_hash"]))
    write_timings(folder, rows(*cells))
    found = load(folder)
    joined = found.runs.merge(found.timings, on="cell_hash")
    assert len(joined) == len(found.runs) * 3
    assert set(joined["run_hash"]) == set(found.runs["run_hash"])
