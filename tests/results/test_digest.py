"""Every byte of a table is checked, and readers of parquet do not see how."""

from __future__ import annotations

import errno
import random
import shutil

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from normbench.errors import UnreadableResultsError
from normbench.results import digest
from normbench.results.files import DamagedError
from normbench.results.schema import arrow_schema, to_table
from normbench.results.tables import read_file, row_groups, write_file

ROWS = [{"run_hash": f"r{i}", "probe": "weight", "layer": "a", "value": i / 7} for i in range(40)]


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "probes.parquet"
    content = [to_table("probes", ROWS[:25]), to_table("probes", ROWS[25:])]
    write_file(path, arrow_schema("probes"), content)
    return path


def test_other_readers_see_the_rows_alone(path, monkeypatch):
    monkeypatch.chdir(path.parent)
    assert pq.read_table(path).to_pylist() == to_table("probes", ROWS).to_pylist()
    assert list(pd.read_parquet(path)["value"]) == [row["value"] for row in ROWS]
    assert pq.ParquetFile(path).num_row_groups == 2


def test_a_change_of_any_byte_is_found(path):
    whole = path.read_bytes()
    footer = len(whole) - int.from_bytes(whole[-8:-4], "little") - 8
    draw = random.Random(0)
    mark = range(footer - digest._LENGTH, footer + 60)
    places = {*draw.sample(range(len(whole)), 150), *mark}
    missed = []
    for place in places:
        changed = bytearray(whole)
        changed[place] ^= 1 << draw.randrange(8)
        path.write_bytes(changed)
        try:
            read_file(path, "probes")
        except DamagedError:
            continue
        missed.append(place)
    assert missed == []


@pytest.mark.parametrize("length", [0, 3, 8, 11, 12, 60, 500])
def test_a_file_cut_short_is_damaged(path, length):
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(DamagedError):
        read_file(path, "probes")
    with pytest.raises(DamagedError):
        list(row_groups(path, "probes"))


def test_a_footer_of_another_table_is_found(path, tmp_path):
    """Both files are whole by parquet's own checksums."""
    other = tmp_path / "other.parquet"
    turned = [{**row, "value": -row["value"]} for row in ROWS]
    write_file(other, arrow_schema("probes"), [to_table("probes", turned)])
    whole, theirs = path.read_bytes(), other.read_bytes()
    path.write_bytes(theirs[: len(theirs) // 2] + whole[len(theirs) // 2 :])
    with pytest.raises(DamagedError):
        read_file(path, "probes")


def test_a_table_of_an_older_version_has_no_digest(path):
    older = to_table("probes", ROWS).replace_schema_metadata({"normbench_schema": "2"})
    pq.write_table(older, path)
    assert read_file(path, "probes").num_rows == 40
    pq.write_table(pa.table({"run_hash": ["x"]}), path)
    assert read_file(path, "probes", ["run_hash"]).num_rows == 1


def test_a_table_of_this_version_without_its_digest_is_damaged(path):
    """As when another program wrote it anew, or its mark was hit."""
    pq.write_table(pq.read_table(path), path)
    with pytest.raises(DamagedError, match="digest is missing"):
        read_file(path, "probes")
    with pytest.raises(DamagedError, match="digest is missing"):
        list(row_groups(path, "probes"))


def test_a_disk_that_fails_is_no_damage(path, monkeypatch):
    def fail(*_):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(digest, "_digest", fail)
    with pytest.raises(UnreadableResultsError, match="Input/output error"):
        read_file(path, "probes")


@pytest.mark.parametrize("name", ["v1:x", "s3:bucket", "file:x", "a b%20", "ü\nn", b"\xff\xfe"])
def test_the_name_of_a_folder_is_a_name_and_no_address(path, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    folder = path.relative_to(tmp_path).parent / (
        name if isinstance(name, str) else name.decode("utf-8", "surrogateescape")
    )
    folder.mkdir()
    shutil.copy(path, folder)
    copied = folder / path.name
    assert read_file(copied, "probes").num_rows == 40
    write_file(copied, arrow_schema("probes"), [to_table("probes", ROWS[:3])])
    assert [t.num_rows for t in row_groups(copied, "probes")] == [3]
    assert [p.name for p in folder.iterdir()] == [path.name]
