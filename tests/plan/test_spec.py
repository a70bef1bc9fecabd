"""A run's identity: equal content gives equal hashes, other content others."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from normbench.catalog.fingerprints import Code
from normbench.plan.decisions import cell_key
from normbench.plan.expand import expand
from normbench.plan.spec import LATER, NUMERICS_VERSION, RunSpec, cell_hash, digest
from normbench.protocol.schema import AXES, Cell
from tests.builders import cell, experiment, run_of, study

#: Every axis with another value than that of the small cell.
CHANGES: dict[str, Any] = {
    "dataset": {"name": "digits", "items": 101},
    "model": {"name": "mlp", "width": 17},
    "norm": {"name": "batch", "momentum": 0.2},
    "batch_size": 9,
    "learning_rate": 0.051,
    "epochs": 2,
    "budget_steps": 9,
    "budget_samples": 100,
    "sites": ["fc1"],
    "position": "post",
    "init": "he",
    "clip_norm": 1.0,
    "input_norm": "raw",
    "input_units": "byte",
    "norm_batch_size": 4,
    "accumulate": 2,
    "precision": "bf16",
    "norm_precision": "autocast",
    "ema": 0.9,
    "ema_buffers": "copied",
    "optimizer": {"name": "sgd", "momentum": 0.8},
    "lr_schedule": {"name": "cosine", "warmup": 0.1},
    "lr_scaling": "linear",
    "lr_reference_batch": 16,
    "evaluations_per_epoch": 2,
    "evaluations": 3,
    "train_size": 40,
    "split_seed": 1,
    "validation_fraction": 0.25,
    "test_fraction": 0.25,
    "statistics_samples": 512,
    "augment": ["flip"],
    "probes": ["weights"],
}


@pytest.mark.parametrize("axis", AXES)
def test_changing_any_axis_changes_the_hash(axis: str) -> None:
    assert cell_hash(cell(**{axis: CHANGES[axis]})) != cell_hash(cell())


def test_all_single_changes_differ_from_each_other() -> None:
    hashes = {cell_hash(cell(**{axis: value})) for axis, value in CHANGES.items()}
    assert len(hashes) == len(CHANGES)


CELLS = st.builds(
    cell,
    norm=st.sampled_from(["none", "batch", "layer", {"name": "batch", "eps": 1e-3}]),
    batch_size=st.integers(1, 5),
    learning_rate=st.sampled_from([0.1, 0.5, 1, 1.0]),
    init=st.sampled_from(["torch", "he"]),
    train_size=st.sampled_from([40, 41]),
)


@settings(max_examples=60, deadline=None)
@given(one=CELLS, other=CELLS)
def test_hashes_are_equal_exactly_for_equal_cells(one: Cell, other: Cell) -> None:
    assert (cell_hash(one) == cell_hash(other)) == (one == other)


def test_axes_that_came_later_are_no_part_of_the_hash_where_they_change_nothing() -> None:
    axes = cell().model_dump(mode="json")
    assert {axis: axes.pop(axis) for axis in LATER} == LATER
    assert cell_hash(cell()) == digest({"numerics": NUMERICS_VERSION, "cell": axes})
    assert cell_hash(cell(**LATER)) == cell_hash(cell())


def test_the_order_in_which_probes_are_listed_is_no_part_of_the_cell() -> None:
    one, other = cell(probes=["weights", "drift"]), cell(probes=["drift", "weights"])
    assert one.probes == other.probes == ("weights", "drift")
    assert cell_hash(one) == cell_hash(other)


def test_spelling_a_default_out_changes_nothing() -> None:
    short = cell(norm="group", optimizer="sgd", learning_rate=1)
    explicit = {"name": "group", "groups": 8, "eps": 0.00001, "affine": True}
    long = cell(norm=explicit, optimizer={"name": "sgd", "momentum": 0.9}, learning_rate=1.0)
    assert cell_hash(short) == cell_hash(long)


def test_seed_and_cell_decide_the_run_and_the_experiment_does_not() -> None:
    one, other = run_of(seed=3), run_of(seed=4)
    assert one.cell_hash == other.cell_hash
    assert one.run_hash != other.run_hash
    assert RunSpec("elsewhere", one.cell, 3).run_hash == one.run_hash
    assert RunSpec("elsewhere", cell(epochs=2), 3).run_hash != one.run_hash


def test_a_run_survives_the_way_to_another_process() -> None:
    run = run_of(seed=2**62, norm={"name": "group", "groups": 4}, sites=["fc2"], train_size=40)
    back = pickle.loads(pickle.dumps(run))
    assert back == run
    assert (back.run_hash, back.cell_hash) == (run.run_hash, run.cell_hash)
    assert back.cell.norm.params == {"groups": 4, "eps": 1e-5, "affine": True}


def test_a_cell_read_back_from_json_is_the_same_cell() -> None:
    one = cell(norm="group", sites=["fc2", "fc1"], train_size=40, learning_rate=1e-7)
    assert Cell.model_validate(json.loads(one.model_dump_json())) == one
    assert cell_hash(Cell.model_validate(json.loads(one.model_dump_json()))) == cell_hash(one)


def test_hashes_do_not_depend_on_the_process() -> None:
    code = "from tests.builders import run_of; print(run_of(seed=5, norm='layer').run_hash)"
    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(filter(None, sys.path))},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for seed in ("1", "2")
    }
    assert found == {run_of(seed=5, norm="layer").run_hash}


def test_digest_ignores_the_order_of_keys_alone() -> None:
    assert digest({"a": 1, "b": [1, 2]}) == digest({"b": [1, 2], "a": 1})
    assert digest([1, 2]) != digest([2, 1])
    assert digest(1) != digest("1")
    assert digest({"a": None}) != digest({})
    with pytest.raises(ValueError, match="not JSON compliant"):
        digest(float("nan"))


def test_a_run_cannot_be_changed() -> None:
    run = run_of()
    with pytest.raises(AttributeError):
        run.seed = 9  # type: ignore[misc]
    with pytest.raises(ValueError, match="frozen"):
        run.cell.epochs = 9


@pytest.mark.parametrize("seed", [0, 7, 2**62])
def test_the_short_way_to_a_runs_hash_is_the_digest_of_cell_and_seed(seed):
    run = run_of(seed)
    assert run.run_hash == digest([run.cell_hash, seed])


@pytest.mark.parametrize(
    ("axes", "of_cell", "of_run"),
    [
        ({}, "0eb95ee1c94746b8", "2da473788a9c422a"),
        ({"norm": "layer"}, "40044f21f24ff009", "ce51457ccc4e5f1f"),
        (
            {"norm": {"name": "group", "groups": 4}, "probes": ["weights"]},
            "b07f46fd6598caaf", "af2053e8dd137bfa",
        ),
    ],
)  # fmt: skip
def test_cells_of_built_in_components_keep_the_hashes_of_stored_results(
    axes: dict[str, Any], of_cell: str, of_run: str
) -> None:
    run = run_of(seed=5, **axes)
    assert (run.cell_hash, run.run_hash) == (of_cell, of_run)


def test_the_code_of_a_component_is_part_of_the_run_and_travels_with_it() -> None:
    plain = run_of(seed=5, norm="layer")
    code = Code("norm layer", "other", "1.0", "0123456789abcdef")
    one = RunSpec("one", plain.cell, 5, "evaluation", (code,))
    assert one.cell_hash == cell_hash(plain.cell, {"norm layer": code, "norm batch": code})
    others = [
        RunSpec("one", plain.cell, 5, "evaluation", (replace(code, **{field: "x"}),))
        for field in ("distribution", "version", "sources")
    ]
    assert len({run.cell_hash for run in (plain, one, *others)}) == 5
    back = pickle.loads(pickle.dumps(one))
    assert back == one
    assert (back.cell_hash, back.run_hash) == (one.cell_hash, one.run_hash)


def test_expanding_takes_the_code_of_what_each_cell_uses() -> None:
    code = Code("norm layer", "other", "1.0", "0123456789abcdef")
    made = study(experiment(product={"norm": ["layer", "batch"]}))
    plain, found = expand(made), expand(made, None, {"norm layer": code})
    assert [run.code for run in found] == [(code,), ()]
    assert [a.run_hash == b.run_hash for a, b in zip(plain, found, strict=True)] == [False, True]


def test_a_rate_is_decided_for_one_code() -> None:
    code = Code("norm layer", "other", "1.0", "0123456789abcdef")
    one = cell(norm="layer")
    keys = {cell_key(one), cell_key(one, {"norm layer": code})}
    assert len(keys) == 2
    assert cell_key(one, {"norm batch": code}) in keys
