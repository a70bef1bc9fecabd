"""Damaged files: readers say so, the one writer sets them aside and computes again what is lost."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from normbench.errors import ResultsError
from normbench.results.load import load
from normbench.results.schema import SCHEMA_VERSION
from normbench.results.store import Store
from tests.support import TINY, Watcher, differences, sweep

TABLES = ("runs", "epochs", "predictions")
KINDS = ("empty", "cut short", "garbage", "no tail", "foreign")


def damage(path: Path, kind: str) -> None:
    """Spoil a parquet file."""
    content = path.read_bytes()
    if kind == "foreign":
        pq.write_table(pa.table({"a": [1, 2]}), path)
        return
    path.write_bytes(
        {
            "empty": b"",
            "cut short": content[: len(content) // 2],
            "garbage": b"\x00garbage\xff" * 50,
            "no tail": content[:-8] + b"\x00" * 8,
        }[kind]
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An undisturbed run."""
    folder = tmp_path_factory.mktemp("whole") / "tiny"
    sweep(TINY, folder)
    return folder


def copy(folder: Path, to: Path) -> Path:
    import shutil

    return Path(shutil.copytree(folder, to))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("table", TABLES)
def test_a_damaged_table_is_told_and_mended(whole, tmp_path, table, kind):
    folder = copy(whole, tmp_path / "tiny")
    damage(folder / f"{table}.parquet", kind)
    with pytest.raises(ResultsError, match=rf"{table}\.parquet is damaged.*sets it aside"):
        getattr(load(folder), table)
    seen = Watcher()
    sweep(TINY, folder, observer=seen)
    assert seen.total == 8  # nothing else holds these runs
    assert (folder / f"{table}.parquet.damaged").exists()
    assert differences(whole, folder) == []


@pytest.mark.parametrize("kind", ["cut short", "foreign"])
@pytest.mark.parametrize("table", TABLES)
def test_a_damaged_part_costs_its_own_group_alone(whole, tmp_path, table, kind):
    folder = tmp_path / "tiny"

    class Stop(Watcher):
        def finished(self, rows):
            super().finished(rows)
            if len(self.rows) == 6:
                raise KeyboardInterrupt

    def keep(self, planned):
        raise RuntimeError("killed before merging")

    with pytest.MonkeyPatch.context() as patch:
        real, calls = Store.consolidate, []

        def first_only(self, planned):
            calls.append(1)
            return real(self, planned) if len(calls) == 1 else keep(self, planned)

        patch.setattr(Store, "consolidate", first_only)
        with pytest.raises(RuntimeError, match="killed"):
            sweep(TINY, folder, observer=Stop())
    damage(folder / "parts" / f"000001.{table}.parquet", kind)
    with pytest.raises(ResultsError, match=rf"000001\.{table}\.parquet is damaged"):
        getattr(load(folder), table)
    seen = Watcher()
    sweep(TINY, folder, observer=seen)
    assert seen.total == 2 + 2  # the group that was lost and the one that had not run
    assert (folder / "parts" / f"000001.{table}.parquet.damaged").exists()
    assert differences(whole, folder) == []


@pytest.mark.parametrize("where", ["table", "part"])
def test_damaged_probes_cost_the_runs_that_measured_them(tmp_path, where):
    one = '[[experiment]]\nname = "two"\nnorm = "layer"\nbatch_size = 16\nprobes = "weights"\n'
    text, folder = TINY + one, tmp_path / "tiny"
    sweep(text, tmp_path / "whole")
    if where == "table":
        sweep(text, folder)
        path = folder / "probes.parquet"
    else:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Store, "consolidate", lambda *_: None)
            sweep(text, folder)
        (path,) = (folder / "parts").glob("*.probes.parquet")
    damage(path, "cut short")
    with pytest.raises(ResultsError, match=r"probes\.parquet is damaged.*sets it aside"):
        _ = load(folder).probes
    seen = Watcher()
    sweep(text, folder, observer=seen)
    assert seen.total == 2  # the others measured nothing and are whole
    assert path.with_name(f"{path.name}.damaged").exists()
    assert differences(tmp_path / "whole", folder) == []


def test_all_tables_damaged_at_once_are_computed_again(whole, tmp_path):
    folder = copy(whole, tmp_path / "tiny")
    for table in TABLES:
        damage(folder / f"{table}.parquet", "cut short")
    sweep(TINY, folder)
    assert differences(whole, folder) == []


def test_a_second_damage_does_not_overwrite_what_was_set_aside(whole, tmp_path):
    folder = copy(whole, tmp_path / "tiny")
    for content in (b"first", b"second"):
        (folder / "predictions.parquet").write_bytes(content)
        sweep(TINY, folder)
    kept = {p.read_bytes() for p in folder.glob("predictions.parquet.damaged*")}
    assert kept == {b"first", b"second"}


@pytest.mark.parametrize("table", TABLES)
def test_a_table_of_a_newer_version_is_refused_and_left_alone(whole, tmp_path, table):
    folder = copy(whole, tmp_path / "tiny")
    path = folder / f"{table}.parquet"
    newer = pq.read_table(path).append_column("new", pa.nulls(pq.read_table(path).num_rows))
    metadata = {"normbench_schema": str(SCHEMA_VERSION + 1)}
    pq.write_table(newer.replace_schema_metadata(metadata), path)
    before = path.read_bytes()
    with pytest.raises(ResultsError, match="newer normbench"):
        getattr(load(folder), table)
    with pytest.raises(ResultsError, match="newer normbench"):
        sweep(TINY, folder)
    assert path.read_bytes() == before
