"""Whatever code of others does in a worker, its task alone is lost and the rest is finished."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from normbench.executors.base import Done
from normbench.executors.local import LocalExecutor
from tests.executors.misbehaving import WAYS, behave

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a Unix system")
SECONDS = 3.0


@pytest.fixture(scope="module")
def executor() -> Iterator[LocalExecutor]:
    """Two workers that all tests share: what one test does to them must not reach the next."""
    with LocalExecutor(2, prepared=True, timeout=60.0) as made:
        yield made


def outcomes(executor: LocalExecutor, way: str, count: int = 6) -> dict[int, Done[int, int]]:
    def limit(task: int) -> float:
        hangs = WAYS[way][1] == "no answer within"
        return SECONDS if hangs and task == 3 else 60.0

    found = list(executor.map(partial(behave, way), range(count), limit))
    assert sorted(one.task for one in found) == list(range(count))  # each once
    return {one.task: one for one in found}


@pytest.mark.parametrize("way", list(WAYS))
def test_the_task_alone_is_lost(executor: LocalExecutor, way: str) -> None:
    began, words = time.monotonic(), WAYS[way][1]
    found = outcomes(executor, way)
    bad = found.pop(3)
    if words is None:
        assert bad.value == 9, bad
    else:
        assert bad.value is None
        assert bad.error is not None
        assert words in bad.error
        assert len(bad.error) < 2500
        bad.error.encode("utf-8")
        assert "\n" not in bad.error
        assert bad.died == any(word in bad.error for word in ("died", "no answer"))
        assert bad.killed == ("SIGKILL" in bad.error)
    assert {task: one.value for task, one in found.items()} == {t: t**2 for t in (0, 1, 2, 4, 5)}
    assert time.monotonic() - began < 45


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_worker_that_dies_while_it_waits_costs_nothing(
    executor: LocalExecutor, number: int
) -> None:
    pids = {one.value for one in executor.map(_process, range(6))}
    for pid in pids:
        os.kill(pid, number)
    again = list(executor.map(_process, range(6)))
    assert all(one.error is None for one in again), again
    assert not pids & {one.value for one in again}


def _process(_: int) -> int:
    time.sleep(0.02)
    return os.getpid()


def test_what_a_component_writes_to_standard_error_is_passed_on(
    executor: LocalExecutor, capfd: pytest.CaptureFixture[str]
) -> None:
    list(executor.map(_warn, [1, 2]))
    assert sorted(capfd.readouterr().err.split()) == ["warned-1", "warned-2"]


def _warn(task: int) -> None:
    os.write(2, f"warned-{task}\n".encode())


def test_closing_leaves_neither_processes_nor_files(tmp_path: Path) -> None:
    before = set(Path(os.environ.get("TMPDIR", "/tmp")).glob("normbench-worker-*"))
    with LocalExecutor(2, timeout=60.0) as made:
        pids = {one.value for one in made.map(_process, range(4))}
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    assert set(Path(os.environ.get("TMPDIR", "/tmp")).glob("normbench-worker-*")) <= before
