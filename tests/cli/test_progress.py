"""The time left: weighed by what was measured, since the longest groups come first."""

from __future__ import annotations

import io
from types import SimpleNamespace

import pytest

from normbench.cli import progress as module
from normbench.cli.progress import LiveProgress
from normbench.terminal import Terminal
from normbench.workflow.shares import share_done, weights_of


@pytest.fixture
def clock(monkeypatch):
    """A clock that moves when it is told."""
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


def row(status="finished", seconds=None):
    return {"status": status, "seconds": seconds, "experiment": "e", "norm": "batch",
            "batch_size": 2, "seed": 0, "error": "no [luck]"}  # fmt: skip


def shown(every=0.0):
    console = Terminal(file=io.StringIO(), width=200)
    return LiveProgress(console, every), console.file


def test_the_time_left_follows_the_work_and_not_the_runs(clock):
    progress, file = shown()
    progress.started(total=100, done=0, workers=2)
    clock.now += 50  # measuring
    progress.progressed(0.0)
    clock.now += 600
    progress.progressed(0.25)
    # one run of a hundred, and a quarter of the work
    progress.finished([row(seconds=3.0)])
    assert "1/100 runs, 650 s, about 30 min left" in file.getvalue()
    clock.now += 600
    assert progress.left() == "about 20 min left"


def test_while_work_remains_there_is_time_left(clock):
    """What was measured before training said a tenth of what training takes."""
    progress, _ = shown()
    progress.started(total=4, done=0, workers=2)
    clock.now += 10
    progress.progressed(0.9)
    said = []
    for _ in range(300):  # the last group takes five minutes more
        clock.now += 1
        said.append(progress.left())
    assert said[0] == "about 1 s left"
    assert said[-1] == "about 30 s left"
    assert "about 0 s left" not in said
    progress.progressed(1.0)
    assert progress.left() == ""


def test_groups_that_others_began_count_half():
    weights = {"a": 0.4, "b": 0.2, "c": 0.2, "d": 0.2}
    first, second, third = groups(("b", None), ("c", None), ("d", None))
    del weights["a"]
    assert share_done(weights, []) == pytest.approx(0.4)
    assert share_done(weights, [first]) == pytest.approx(0.5)
    assert share_done(weights, [first, second, third]) == pytest.approx(0.7)
    assert share_done({}, []) == 1


def test_little_time_is_said_in_seconds_and_none_before_anything_is_done(clock):
    progress, file = shown()
    progress.started(total=4, done=0, workers=1)
    assert progress.left() == ""
    clock.now += 30
    progress.progressed(0.75)
    progress.finished([row(seconds=12.0), row(seconds=18.0), row("failed")])
    assert "3/4 runs, 30 s, about 10 s left (1 failed)" in file.getvalue()
    assert "failed e, batch, batch size 2, seed 0: no [luck]" in file.getvalue()


def groups(*items):
    return [
        SimpleNamespace(runs=[SimpleNamespace(run_hash=h) for h in hashes], seconds=seconds)
        for hashes, seconds in items
    ]


def test_runs_weigh_as_much_as_their_steps_were_measured_to_take():
    weights = weights_of(groups(("ab", 6.0), ("c", 1.0), ("d", None)))
    # the mean of the two known groups stands for the unknown one
    assert weights == pytest.approx({"a": 3 / 9, "b": 3 / 9, "c": 1 / 9, "d": 2 / 9})


def test_where_nothing_was_measured_all_runs_weigh_alike():
    assert weights_of(groups(("ab", None), ("c", None))) == pytest.approx(
        {"a": 1 / 3, "b": 1 / 3, "c": 1 / 3}
    )
    assert weights_of([]) == {}
