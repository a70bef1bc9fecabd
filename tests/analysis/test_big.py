"""Large results: tables in time, within memory, and the same bytes every time."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import time
from pathlib import Path

import pytest

import normbench
from tests import big_results

MEASURE = """
import resource, sys, time
import normbench
normbench.analyse(sys.argv[1]).save(__import__("pathlib").Path(sys.argv[2]))
# of computing: what else the machine does is no fault of ours
print(time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)
"""


def measured(folder: Path, tables: Path) -> tuple[float, float]:
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(folder), str(tables)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    seconds, gib = (float(v) for v in done.stdout.split())
    return seconds, gib


def digests(folder: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.iterdir())}


def test_the_same_results_give_the_same_bytes(tmp_path: Path) -> None:
    big_results.write(tmp_path / "r", cells=15, seeds=8, epochs=20)
    measured(tmp_path / "r", tmp_path / "a")
    measured(tmp_path / "r", tmp_path / "b")
    assert digests(tmp_path / "a") == digests(tmp_path / "b")
    assert len(digests(tmp_path / "a")) >= 20


@pytest.mark.slow
def test_a_million_epoch_rows_within_time_and_memory(tmp_path: Path) -> None:
    rows = big_results.write(tmp_path / "r", cells=100, seeds=20, epochs=500)
    assert rows > 1_000_000
    seconds, gib = measured(tmp_path / "r", tmp_path / "t")
    assert gib < 2
    assert seconds < 15


@pytest.mark.slow
def test_ten_thousand_runs_load_within_ten_seconds(tmp_path: Path) -> None:
    big_results.write(tmp_path / "r", cells=500, seeds=20, epochs=10)
    started = time.perf_counter()
    results = normbench.load(tmp_path / "r")
    assert len(results.runs) == 10_000
    assert len(results.epochs) == 110_000
    assert len(results.predictions) == 10_000
    assert time.perf_counter() - started < 10
