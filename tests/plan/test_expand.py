"""From a study to its runs, and the choice among them."""

from __future__ import annotations

import pytest

from normbench.errors import UsageError
from normbench.plan.expand import expand, select
from tests.builders import experiment, study

GRID = study(
    experiment("a", product={"norm": ["none", {"name": "group", "groups": 4}]}, seeds=[5, 3]),
    experiment("b", product={"batch_size": [4, 8], "norm": ["batch"]}),
    seeds=2,
)


def test_runs_come_by_experiment_cell_and_seed() -> None:
    runs = expand(GRID)
    assert [(r.experiment, r.cell.norm.name, r.cell.batch_size, r.seed) for r in runs] == [
        ("a", "none", 8, 5),
        ("a", "none", 8, 3),
        ("a", "group", 8, 5),
        ("a", "group", 8, 3),
        ("b", "batch", 4, 0),
        ("b", "batch", 4, 1),
        ("b", "batch", 8, 0),
        ("b", "batch", 8, 1),
    ]


def test_expanding_is_pure() -> None:
    before = GRID.model_dump_json()
    first, second = expand(GRID), expand(GRID)
    assert first == second
    assert [r.run_hash for r in first] == [r.run_hash for r in second]
    assert GRID.model_dump_json() == before


def test_hashes_of_an_expansion_are_those_of_the_runs_alone() -> None:
    from normbench.plan.spec import RunSpec

    for run in expand(GRID):
        alone = RunSpec(run.experiment, run.cell, run.seed)
        assert (run.cell_hash, run.run_hash) == (alone.cell_hash, alone.run_hash)


@pytest.mark.parametrize(
    ("only", "count"),
    [
        ([], 8),
        (["norm=batch"], 4),
        (["norm=group"], 2),
        (["norm=group(groups=4)"], 2),
        (["norm=none,batch"], 6),
        (["norm = none , batch"], 6),
        (["batch_size=4"], 2),
        (["batch_size=8", "norm=batch"], 2),
        (["batch_size=4", "norm=none"], 0),
        (["experiment=a"], 4),
        (["seed=0,5"], 4),
        (["model=mlp"], 8),
        (["model=mlp(width=16)"], 8),
        (["learning_rate=0.05"], 8),
    ],
)
def test_selecting_runs(only: list[str], count: int) -> None:
    found = select(expand(GRID), only)
    assert len(found) == count
    assert [run for run in expand(GRID) if run in found] == found


@pytest.mark.parametrize(
    ("only", "said"),
    [
        ("norm", "axis=value"),
        ("nrom=batch", "did you mean 'norm'?"),
        ("zzz=1", "known axes"),
        ("norm=layer", "no run has norm = 'layer'"),
        ("batch_size=4,16", "no run has batch_size = '16'"),
        ("experiment=c", "the protocol has a, b"),
        ("norm=", "no run has norm = ''"),
    ],
)
def test_a_selection_that_means_nothing_is_refused(only: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        select(expand(GRID), [only])
    assert said in str(caught.value)
