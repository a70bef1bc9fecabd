"""Groups of runs: rows of every run, failures as rows."""

from __future__ import annotations

import math
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from normbench.calibration.estimate import estimate
from normbench.errors import UndefinedError
from normbench.plan.execution import EngineSpec
from normbench.training import group as module
from normbench.training.group import train_group
from normbench.training.tasks import Group
from tests.builders import run_of


def rows_of(*runs: Any) -> Any:
    return train_group(Group("g", tuple(runs), "cpu", "exec"))


def test_every_run_of_a_group_gives_its_rows() -> None:
    runs = [run_of(seed, epochs=2) for seed in (0, 4)]
    rows = rows_of(*runs)
    assert [row["run_hash"] for row in rows.runs] == [run.run_hash for run in runs]
    assert [row["status"] for row in rows.runs] == ["finished"] * 2
    assert [row["run_hash"] for row in rows.epochs] == [r.run_hash for r in runs for _ in range(3)]
    kinds = [(row["run_hash"], row["evaluation"]) for row in rows.predictions]
    assert len(set(kinds)) == len(kinds) == 6
    for row in rows.runs:
        assert (row["steps"], row["samples"], row["device"]) == (14, 112, "cpu")
        assert row["execution_hash"] == "exec"
        assert 0 < row["train_seconds"] + row["eval_seconds"] <= row["seconds"]
        assert 10 < row["peak_memory"] < 1e6
    assert all(type(bit) is bool for row in rows.predictions for bit in row["correct"])


def test_a_group_and_its_rows_cross_processes() -> None:
    group = Group("g", (run_of(3),), "cpu", "exec")
    assert pickle.loads(pickle.dumps(group)) == group
    rows = train_group(group)
    assert pickle.loads(pickle.dumps(rows)).runs == rows.runs


def test_statuses_that_are_no_finish() -> None:
    undefined = run_of(norm="batch", batch_size=1)
    diverged = run_of(norm="none", learning_rate=1e6)
    too_large = run_of(batch_size=61)
    rows = rows_of(undefined, diverged, too_large, run_of())
    assert [r["status"] for r in rows.runs] == ["undefined", "diverged", "failed", "finished"]
    assert "at site fc1" in rows.runs[0]["error"]
    assert rows.runs[1]["error"] is None
    assert rows.runs[2]["error"].startswith("UsageError: batch_size must not exceed")
    assert rows.runs[0]["parameters"] is rows.runs[2]["parameters"] is None
    hashes = {row["run_hash"] for row in rows.epochs}
    assert hashes == {diverged.run_hash, run_of().run_hash}
    assert any(math.isnan(row["val_loss"]) for row in rows.epochs)


def test_a_crash_of_one_run_is_a_row_and_the_others_go_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = module.train

    def crashes(engine: Any) -> Any:
        if engine.runs[0].seed == 1:
            raise MemoryError("no\nroom " + "x" * 5000)
        return real(engine)

    monkeypatch.setattr(module, "train", crashes)
    rows = rows_of(run_of(0), run_of(1), run_of(2))
    assert [row["status"] for row in rows.runs] == ["finished", "failed", "finished"]
    assert rows.runs[1]["error"].startswith("MemoryError: no room xxx")
    assert len(rows.runs[1]["error"]) <= 2000


@pytest.mark.parametrize("engine", ["plain", "packed", "stacked"])
def test_what_turns_out_to_have_no_meaning_is_undefined_by_every_engine(
    engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def late(*_: Any) -> Any:
        raise UndefinedError("no meaning, as the third step shows")

    monkeypatch.setattr(module, "train", late)
    group = Group("000000", (run_of(0), run_of(1)), "cpu", "key", EngineSpec(engine))
    rows = module.train_group(group).runs
    assert [row["status"] for row in rows] == ["undefined"] * 2
    assert {row["error"] for row in rows} == {"no meaning, as the third step shows"}


def test_what_a_run_sets_for_the_process_reaches_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    (expected,) = rows_of(run_of(2)).epochs[-1:]
    real = module.train

    def sets(engine: Any) -> Any:
        if engine.runs[0].seed == 1:
            torch.set_default_dtype(torch.float64)
            torch.set_grad_enabled(False)
            torch.set_float32_matmul_precision("medium")
            raise RuntimeError("and leaves it so")
        return real(engine)

    monkeypatch.setattr(module, "train", sets)
    rows = rows_of(run_of(1), run_of(2))
    assert [row["status"] for row in rows.runs] == ["failed", "finished"]
    assert rows.epochs[-1]["val_loss"] == expected["val_loss"]
    assert torch.get_default_dtype() == torch.float32
    assert torch.get_float32_matmul_precision() == "highest"


def test_an_interrupt_is_not_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "train", interrupted)
    with pytest.raises(KeyboardInterrupt):
        rows_of(run_of())


#: In a process of its own: another test's freed memory, held by the allocator or in a maximum that
#: cannot be forgotten, would hide an allocation.
_PEAKS = """
import torch
from normbench.training.group import PeakMemory

def allocate():
    memory = PeakMemory("cpu")
    torch.ones(2**26).sum()
    return memory.read()

print(PeakMemory("cpu").read(), allocate(), PeakMemory("cpu").read())
"""


def test_peak_memory_sees_an_allocation_and_forgets_an_earlier_one() -> None:
    printed = subprocess.run(
        [sys.executable, "-c", _PEAKS], capture_output=True, text=True, check=True
    ).stdout
    before, during, after = map(float, printed.split())
    assert before + 200 < during < before + 400
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError as error:
        pytest.skip(f"this system lets no process forget its maximum: {error}")
    assert after < during - 200


@pytest.mark.parametrize("norm", ["none", "batch"])
def test_an_estimate_is_a_time_and_changes_no_setting(norm: str) -> None:
    import torch

    threads, generator = torch.get_num_threads(), torch.get_rng_state()
    seconds = estimate(run_of(norm=norm, epochs=3)).seconds
    assert 0 < seconds < 60
    assert estimate(run_of(norm=norm, epochs=3000)).seconds > 20 * seconds
    assert torch.get_num_threads() == threads
    assert torch.equal(generator, torch.get_rng_state())
