"""Groups: measured once, stored before they are computed, followed ever after."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from normbench.calibration.tasks import Calibrated, Calibration, Measured
from normbench.errors import UsageError
from normbench.executors.base import Done
from normbench.executors.inline import InlineExecutor
from normbench.plan.execution import EngineSpec
from normbench.results.execution import read_execution, read_plan_file
from normbench.results.load import load
from normbench.results.tables import write_file
from normbench.training import group as module
from normbench.training.tasks import Group
from normbench.workflow.grouping import Grouping, choose, engine_mode, plain_group
from tests.support import TINY, Watcher, differences, edit, sweep

PLAIN, PACKED = EngineSpec("plain"), EngineSpec("packed", "im2col")


@pytest.mark.parametrize(
    ("measured", "runs", "cells", "workers", "steps", "expected"),
    [
        # packed is faster per run: as wide as helps
        ([(PLAIN, 1, 1.0), (PACKED, 8, 0.2), (PACKED, 4, 0.4)], 8, 4, 2, 1, (PACKED, 8)),
        # nothing is gained: the plain loop
        ([(PLAIN, 1, 1.0), (PACKED, 8, 1.2)], 8, 4, 2, 1, (PLAIN, 1)),
        # one cell and two workers: two groups end earlier than one
        ([(PLAIN, 1, 1.0), (PACKED, 8, 0.2), (PACKED, 4, 0.3)], 8, 1, 2, 1, (PACKED, 4)),
        # within the noise of measuring: the wider one, unless it is committed late
        ([(PLAIN, 1, 1.0), (PACKED, 8, 0.2), (PACKED, 2, 0.195)], 8, 4, 1, 1, (PACKED, 8)),
        ([(PLAIN, 1, 1.0), (PACKED, 8, 0.2), (PACKED, 2, 0.205)], 8, 4, 1, 999, (PACKED, 2)),
        # long groups are narrow only where that is as fast
        ([(PLAIN, 1, 1.0), (PACKED, 8, 0.2), (PACKED, 2, 0.4)], 8, 4, 1, 999, (PACKED, 8)),
    ],
)
def test_the_choice_ends_first(measured, runs, cells, workers, steps, expected):
    found = choose([Measured(*one) for one in measured], runs, cells, workers, steps)
    assert (found.engine, found.width) == expected


def test_engines_have_names():
    assert engine_mode("packed") == "packed"
    said = "--engine is auto, plain, packed or stacked; received 'fast'"
    with pytest.raises(UsageError, match=said):
        engine_mode("fast")


class Pretended(InlineExecutor):
    """Measures what it is told to measure; everything else is really done."""

    def __init__(self, answer: Callable[[Calibration], Calibrated]) -> None:
        self.answer, self.asked = answer, []

    def map(self, function, tasks, limit=None):
        if tasks and isinstance(tasks[0], Calibration):
            self.asked += tasks
            return iter([Done(task, self.answer(task)) for task in tasks])
        return super().map(function, tasks, limit)


def packed_is_best(task: Calibration) -> Calibrated:
    return Calibrated((Measured(PLAIN, 1, 1.0), Measured(PACKED, task.runs, 0.1)), 10)


def test_without_a_packed_form_the_fastest_formulation_of_the_plain_loop_is_taken(tmp_path):
    def no_packed_form(task: Calibration) -> Calibrated:
        last = EngineSpec("plain", "channels-last")
        return Calibrated((Measured(PLAIN, 1, 1.0), Measured(last, 1, 0.5)), 10)

    sweep(TINY, tmp_path, executor=Pretended(no_packed_form), engine="auto")
    groups = read_execution(tmp_path).groups.values()
    assert {group.engine.variant for group in groups} == {"channels-last"}
    assert set(load(tmp_path).runs["status"]) == {"finished"}


def test_an_auto_sweep_stores_its_groups_before_they_run(tmp_path, monkeypatch):
    seen = []
    real = module.train_group

    def watch(group):
        seen.append(group.execution_hash in read_execution(tmp_path).groups)
        return real(group)

    monkeypatch.setattr(module, "train_group", watch)
    sweep(TINY, tmp_path, executor=Pretended(packed_is_best), engine="auto")
    assert seen == [True] * 4
    runs = load(tmp_path).runs
    assert set(runs["engine"]) == {"packed"}
    assert set(runs["group_size"]) == {2}
    assert set(runs["execution_hash"]) == set(read_execution(tmp_path).groups)


def test_equal_work_is_measured_once(tmp_path):
    text = TINY.replace("learning_rate = 0.1", "").replace(
        "batch_size = [8, 16]", "batch_size = [8, 16]\nlearning_rate = [0.1, 0.2, 0.3]"
    )
    executor = Pretended(packed_is_best)
    sweep(text, tmp_path, executor=executor, engine="auto")
    assert len(executor.asked) == 4
    assert {(task.runs, task.total) for task in executor.asked} == {(6, 6)}


def test_rates_of_one_cell_are_one_computation(tmp_path):
    text = TINY.replace("learning_rate = 0.1", "").replace(
        "batch_size = [8, 16]", "batch_size = 8\nlearning_rate = [0.1, 0.001]"
    ).replace("batch_size = 8\n", "batch_size = [8]\n")  # fmt: skip
    sweep(text, tmp_path / "a", executor=Pretended(packed_is_best), engine="auto")
    sweep(text, tmp_path / "b")
    together, alone = load(tmp_path / "a"), load(tmp_path / "b")
    assert set(together.runs["group_size"]) == {4}
    for results in (together, alone):
        results.epochs.sort_values(["run_hash", "step"], inplace=True)
    assert together.epochs["val_loss"].to_numpy() == pytest.approx(
        alone.epochs["val_loss"].to_numpy(), rel=1e-3
    )


def test_a_resumed_sweep_and_one_that_follows_have_the_same_bits(tmp_path):
    whole, resumed, followed = (tmp_path / name for name in ("whole", "resumed", "followed"))
    sweep(TINY, whole, executor=Pretended(packed_is_best), engine="auto")

    class Stops(Pretended):
        def map(self, function, tasks, limit=None):
            for number, done in enumerate(super().map(function, tasks, limit)):
                if number == 2 and not isinstance(done.task, Calibration):
                    raise KeyboardInterrupt
                yield done

    summary = sweep(TINY, resumed, executor=Stops(packed_is_best), engine="auto")
    assert summary.interrupted
    assert summary.by_status == {"finished": 4, "missing": 4}
    # what is planned is followed, even where other engines would now be chosen
    sweep(TINY, resumed)
    assert differences(whole, resumed) == []
    plan = read_plan_file(whole / "execution.json")
    sweep(TINY, followed, engine="plain", follow=plan)
    assert differences(whole, followed) == []
    assert read_execution(followed).groups == plan.groups


def test_a_group_that_is_partly_missing_is_computed_whole_to_the_same_bits(tmp_path):
    whole, torn = tmp_path / "whole", tmp_path / "torn"
    for folder in (whole, torn):
        sweep(TINY, folder, executor=Pretended(packed_is_best), engine="auto")
    lost = load(torn).runs["run_hash"][0]
    (group,) = (g for g in read_execution(torn).groups.values() if lost in g.runs)
    assert len(group.runs) == 2
    table = pq.read_table(torn / "epochs.parquet")
    kept = pc.not_equal(table.column("run_hash"), lost)
    write_file(torn / "epochs.parquet", table.schema, [table.filter(kept)])
    seen = Watcher()
    sweep(TINY, torn, executor=Pretended(packed_is_best), engine="auto", observer=seen)
    assert {row["run_hash"] for row in seen.rows} == set(group.runs)
    assert differences(whole, torn) == []


def test_groups_that_take_longest_come_first_after_an_interruption_too(tmp_path):
    handed: list[list[float]] = []

    class Interrupted(Pretended):
        def map(self, function, tasks, limit=None):
            if tasks and not isinstance(tasks[0], Calibration):
                handed.append([task.seconds for task in tasks])
                raise KeyboardInterrupt
            return super().map(function, tasks, limit)

    def larger_batches_take_longer(task: Calibration) -> Calibrated:
        seconds = 0.1 * task.run.cell.batch_size
        return Calibrated((Measured(PLAIN, 1, 100.0), Measured(PACKED, task.runs, seconds)), 10)

    for text in (TINY, TINY, TINY.replace("[8, 16]", "[4, 8, 16, 32]")):
        sweep(text, tmp_path, executor=Interrupted(larger_batches_take_longer), engine="auto")
    first, again, more = handed
    assert first == again == sorted(first, reverse=True)
    assert more == sorted(more, reverse=True)
    assert set(first) < set(more)
    assert more[0] > first[0]


def test_added_seeds_form_new_groups(tmp_path):
    sweep(TINY, tmp_path, executor=Pretended(packed_is_best), engine="auto")
    first = read_execution(tmp_path).groups
    before = load(tmp_path).epochs.set_index(["run_hash", "step"])["val_loss"]
    more = TINY.replace("seeds = 2", "seeds = 5")
    sweep(more, tmp_path, executor=Pretended(packed_is_best), engine="auto")
    groups = read_execution(tmp_path).groups
    assert {len(group.runs) for key, group in groups.items() if key not in first} == {3}
    after = load(tmp_path).epochs.set_index(["run_hash", "step"])["val_loss"]
    assert (after.loc[before.index] == before).all()


def test_a_group_that_does_not_fit_into_memory_is_halved_and_stays_so(tmp_path, monkeypatch):
    text = TINY.replace("seeds = 2", "seeds = 5").replace("[8, 16]", "[16]")
    real = module.train_group

    def small(group):
        if len(group.runs) > 2:
            raise MemoryError("can't allocate memory: you tried to allocate too much")
        return real(group)

    monkeypatch.setattr(module, "train_group", small)
    seen = Watcher()
    folder = tmp_path / "halved"
    summary = sweep(text, folder, executor=Pretended(packed_is_best), engine="auto", observer=seen)
    assert summary.by_status == {"finished": 10}
    assert len(seen.rows) == 10
    plan = read_execution(folder)
    used = set(load(folder).runs["execution_hash"])
    assert sorted(len(plan.groups[key].runs) for key in used) == [1, 1, 2, 2, 2, 2]
    assert len(plan.replaced) == 4
    monkeypatch.setattr(module, "train_group", real)
    follow = read_plan_file(folder / "execution.json")
    sweep(text, tmp_path / "again", engine="plain", follow=follow)
    assert differences(folder, tmp_path / "again") == []


def test_a_plan_of_another_machine_is_refused(tmp_path):
    sweep(TINY, tmp_path / "a", executor=Pretended(packed_is_best), engine="auto")
    path: Path = tmp_path / "a" / "execution.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    for group in content["groups"].values():
        group["environment"] = "elsewhere"
    edit(path, groups=content["groups"])
    with pytest.raises(UsageError, match="made on another machine"):
        sweep(TINY, tmp_path / "b", follow=read_plan_file(path))


def test_a_calibration_that_fails_leaves_the_plain_loop(tmp_path):
    class Broken(Pretended):
        def map(self, function, tasks, limit=None):
            if tasks and isinstance(tasks[0], Calibration):
                return iter([Done(task, None, "broken") for task in tasks])
            return super().map(function, tasks, limit)

    summary = sweep(TINY, tmp_path, executor=Broken(packed_is_best), engine="auto")
    assert summary.by_status == {"finished": 8}
    assert set(load(tmp_path).runs["engine"]) == {"plain"}


class Dying(Pretended):
    """Its worker dies of a group's first ``times`` tries, in ``way``."""

    def __init__(self, times: int, **way: bool) -> None:
        super().__init__(packed_is_best)
        self.times, self.way, self.tried = times, way, Counter[str]()

    def map(self, function, tasks, limit=None):
        for task in tasks:
            if isinstance(task, Group) and task.runs[0].cell.norm.name == "layer":
                first = task.runs[0]  # of the second half of a group it is another run
                key = first.cell_hash if self.way else first.run_hash
                self.tried[key] += 1
                if self.tried[key] <= self.times:
                    yield Done(
                        task, None, "the worker process died (exit status 0)", True, **self.way
                    )
                    continue
            yield from super().map(function, [task], limit)


@pytest.mark.parametrize("mode", ["plain", "auto"])
def test_a_group_of_which_its_worker_died_is_computed_once_more(tmp_path, mode):
    executor = Dying(1)
    summary = sweep(TINY, tmp_path, executor=executor, engine=mode)
    assert summary.by_status == {"finished": 8}
    assert set(executor.tried.values()) == {2}


def test_a_group_of_which_its_worker_dies_again_has_failed_and_the_rest_goes_on(tmp_path):
    executor = Dying(99)
    summary = sweep(TINY, tmp_path, executor=executor, engine="auto")
    assert summary.by_status == {"finished": 4, "failed": 4}
    assert set(executor.tried.values()) == {2}
    runs = load(tmp_path).runs
    failed = runs[runs["status"] == "failed"]
    assert failed["error"].eq("the worker process died (exit status 0)").all()


def test_a_group_that_was_killed_as_where_memory_runs_out_is_halved(tmp_path):
    summary = sweep(TINY, tmp_path, executor=Dying(1, killed=True), engine="auto")
    assert summary.by_status == {"finished": 8}
    runs = load(tmp_path).runs
    layer = runs["norm"] == "layer"
    assert runs["group_size"][layer].max() == runs["group_size"][~layer].max() / 2


@pytest.mark.parametrize(("seconds", "runs"), [(0.01, 4), (1.2, 4), (2.0, 2), (60.0, 1)])
def test_what_the_plain_loop_commits_together_takes_seconds(seconds, runs):
    assert plain_group(seconds) == runs


def test_a_group_hangs_after_far_more_than_it_was_measured_to_take(tmp_path):
    group = Group("000000", (), "cpu", "x", seconds=100.0)
    grouping = Grouping(tmp_path, "cpu", {}, Pretended(packed_is_best), 1)
    assert grouping.limit(group) == 600 + 20 * 100
    assert grouping.limit(replace(group, seconds=None)) is None
    assert replace(grouping, timeout=7.0).limit(group) == 7.0
