"""The execution plan: what is computed together stays together."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from normbench.plan.execution import (
    EngineSpec,
    ExecutionPlan,
    GroupPlan,
    even_chunks,
    halves,
    recorded_groups,
)
from normbench.plan.spec import RunSpec
from tests.builders import run_of

RUNS = [run_of(seed=seed) for seed in range(6)]
PACKED = EngineSpec("packed", "grouped")


def group(runs: list[RunSpec], engine: EngineSpec = PACKED, environment: str = "here") -> GroupPlan:
    return GroupPlan(engine, tuple(run.run_hash for run in runs), environment)


def plan(*groups: GroupPlan, replaced: tuple[GroupPlan, ...] = ()) -> ExecutionPlan:
    known = {one.key: one for one in (*groups, *replaced)}
    return ExecutionPlan({}, known, frozenset(one.key for one in replaced))


def test_everything_that_decides_bits_decides_the_key() -> None:
    one = group(RUNS[:2])
    others = [
        group(RUNS[:2], EngineSpec("packed", "im2col")),
        group(RUNS[:2], EngineSpec("plain")),
        group(RUNS[:2], replace(PACKED, threads=2)),
        group(RUNS[:2], environment="elsewhere"),
        group(RUNS[:3]),
        group(RUNS[1::-1]),
    ]
    assert len({one.key, *(other.key for other in others)}) == 7
    assert group(RUNS[:2]).key == one.key


def test_a_partly_missing_group_is_computed_whole() -> None:
    known = group(RUNS[:4])
    groups, rest = recorded_groups([RUNS[2], RUNS[5]], RUNS, plan(known), "here")
    assert groups == [(known, tuple(RUNS[:4]))]
    assert rest == [RUNS[5]]


def test_a_group_of_another_environment_is_not_followed() -> None:
    groups, rest = recorded_groups(RUNS, RUNS, plan(group(RUNS)), "elsewhere")
    assert (groups, rest) == ([], RUNS)


def test_a_group_of_which_the_protocol_left_runs_out_is_not_followed() -> None:
    groups, rest = recorded_groups(RUNS[:2], RUNS[:2], plan(group(RUNS[:4])), "here")
    assert (groups, rest) == ([], RUNS[:2])


def test_a_replaced_group_gives_way_to_its_halves() -> None:
    whole = group(RUNS[:5])
    parts = [part for part, _ in halves(whole, tuple(RUNS[:5]))]
    groups, rest = recorded_groups(RUNS, RUNS, plan(*parts, replaced=(whole,)), "here")
    assert [len(runs) for _, runs in groups] == [3, 2]
    assert [run for _, runs in groups for run in runs] == RUNS[:5]
    assert rest == RUNS[5:]
    assert {part.engine for part in parts} == {PACKED}


@given(count=st.integers(1, 60), width=st.integers(1, 70))
def test_chunks_are_few_and_even_and_keep_the_order(count: int, width: int) -> None:
    runs = [RUNS[0]] * count
    chunks = even_chunks(runs, width)
    sizes = [len(chunk) for chunk in chunks]
    assert sum(sizes) == count
    assert max(sizes) <= width
    assert max(sizes) - min(sizes) <= 1
    assert len(chunks) == -(-count // width)
