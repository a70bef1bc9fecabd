"""Probes in a run: what they are given, what becomes of their values, and that nothing changes."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from normbench.calibration.estimate import estimate
from normbench.catalog import LINEAR_REGRESSION, PROBES, Entry
from normbench.plan.execution import EngineSpec
from normbench.plan.spec import RunSpec
from normbench.quantities import Quantity
from normbench.training.data import prepare
from normbench.training.group import train_group
from normbench.training.loop import Outcome
from normbench.training.probes.base import Measurement, ProbeContext
from normbench.training.probing import probe_batches
from normbench.training.tasks import Group
from tests.builders import run_of
from tests.training.engines import in_double, train_alone, train_together
from tests.training.test_packed import BASE, CNN

Double = Callable[[ProbeContext], Iterator[Measurement]]
#: Those of the built-in probes whose numbers do not hang on the last bits of an iteration.
CHEAP = ["weights", "landscape", "covariate-shift", "drift", "activations", "participation"]
DROPOUT = {
    "dataset": {"name": "pets", "items": 60, "resolution": 32},
    "model": {"name": "alexnet", "width": 0.125},
    "budget_steps": 4,
    "evaluations": 2,
}
#: Two looks, with few probe batches, so that all probes are quick.
SHORT = {
    "model": {"name": "mlp", "width": 12},
    "batch_size": 20,
    "budget_steps": 3,
    "evaluations": 1,
}


@pytest.fixture
def probe(monkeypatch: pytest.MonkeyPatch) -> Callable[..., RunSpec]:
    """Makes a run whose probes are these functions; they give the quantity that they are named."""

    def register(*doubles: Double, seed: int = 0, **axes: Any) -> RunSpec:
        names = []
        for double in doubles:
            name = double.__name__
            entry = Entry("tests:none", "a double", gives=(Quantity(name, name, "A double."),))
            monkeypatch.setattr(Entry, "load", loading(Entry.load, entry, double))
            monkeypatch.setitem(PROBES._entries, name, entry)
            names.append(name)
        run = run_of(seed, **(BASE | {"norm": "batch"} | axes))
        return replace(run, cell=run.cell.model_copy(update={"probes": tuple(names)}))

    return register


def loading(real: Callable[[Entry], Any], mine: Entry, double: Double) -> Callable[[Entry], Any]:
    return lambda entry: double if entry is mine else real(entry)


def by_plain(*runs: RunSpec) -> list[Outcome]:
    return [train_alone(run, prepare(run.cell)) for run in runs]


def by_packed(*runs: RunSpec) -> list[Outcome]:
    return train_together(runs, prepare(runs[0].cell))


BOTH = pytest.mark.parametrize("engine", [by_plain, by_packed])


def values(outcome: Outcome, probe: str, layer: str = "") -> list[float]:
    return [r["value"] for r in outcome.probes if (r["probe"], r["layer"]) == (probe, layer)]


# -- nothing changes ---------------------------------------------------------------------------


def vandal(context: ProbeContext) -> Iterator[Measurement]:
    """Breaks every rule: trains and spoils the model, leaves its mode, draws from all streams."""
    torch.rand(3)
    context.model(context.batches[0][0])
    context.model.eval()
    with torch.no_grad():
        for tensor in [*context.model.parameters(), *context.model.buffers()]:
            tensor.add_(1)
    for module in context.model.modules():
        if isinstance(getattr(module, "generator", None), torch.Generator):
            torch.rand(3, generator=module.generator)
    for x, _ in context.batches:
        x.zero_()
    yield Measurement("vandal", "", 1.0)


def bits(outcome: Outcome) -> list[Any]:
    measured = {"train_seconds", "eval_seconds"}
    rows = [
        {k: np.float64(v).tobytes() for k, v in row.items() if k not in measured}
        for row in outcome.epochs
    ]
    hits = {kind: hit.tolist() for kind, hit in outcome.predictions.items()}
    return [outcome.status, outcome.steps, outcome.samples, rows, hits]


@BOTH
def test_training_has_the_same_bits_with_and_without_probes(
    engine: Any, probe: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NORMBENCH_CACHE", str(tmp_path))
    axes = BASE | {"norm": "batch"} | DROPOUT
    without = run_of(**axes)
    measuring = run_of(**axes, probes=["weights", "drift", "gradient-noise"])
    spoiling = probe(vandal, **DROPOUT)
    before = torch.get_rng_state()
    (expected,) = engine(without)
    for run in (measuring, spoiling):
        (found,) = engine(run)
        assert bits(found) == bits(expected)
        assert {r["step"] for r in found.probes} == {0, 2, 4}
    assert torch.equal(torch.get_rng_state(), before)
    assert (expected.probes, expected.probe_seconds) == ([], None)


@BOTH
def test_no_probe_changes_training_and_each_gives_the_same_again(engine: Any) -> None:
    axes = BASE | SHORT | {"norm": "batch"}
    (expected,) = engine(run_of(**axes))
    one, two = (engine(run_of(**axes, probes="all"))[0] for _ in range(2))
    assert bits(one) == bits(two) == bits(expected)
    assert one.probes == two.probes
    fitting = [entry for entry in PROBES.values() if LINEAR_REGRESSION not in entry.traits]
    given = {q.name for entry in fitting for q in entry.gives}
    assert {r["probe"] for r in one.probes} == given


@pytest.mark.parametrize("norm", ["batch", "group", "weight"])
def test_both_engines_give_the_probes_the_same_networks(norm: str) -> None:
    axes = BASE | SHORT | {"norm": norm, "probes": CHEAP, "model": CNN}
    runs = [run_of(seed, **axes) for seed in (0, 3)]
    data = in_double(prepare(runs[0].cell))
    for found, expected in zip(
        train_together(runs, data), [train_alone(run, data) for run in runs], strict=True
    ):
        assert len(found.probes) > 90
        for row, other in zip(found.probes, expected.probes, strict=True):
            assert {k: row[k] for k in row if k != "value"} == {
                k: other[k] for k in other if k != "value"
            }
            assert row["value"] == pytest.approx(other["value"], rel=1e-6, abs=1e-9), row


# -- what a probe is given ---------------------------------------------------------------------


def change(context: ProbeContext) -> Iterator[Measurement]:
    if context.previous is None:
        return
    now = {n: p.detach() for n, p in context.model.named_parameters()}
    assert list(context.previous) == list(now)
    parts = [(now[n] - p).square().sum() for n, p in context.previous.items()]
    yield Measurement("change", "", float(torch.stack(parts).sum().sqrt()))


@BOTH
def test_the_previous_parameters_are_those_before_the_last_step(engine: Any, probe: Any) -> None:
    for outcome in engine(probe(change), probe(change, seed=5)):
        norms = [row["update_norm"] for row in outcome.epochs[1:]]
        assert len(norms) == 3
        assert values(outcome, "change") == pytest.approx(norms, rel=1e-4)


def conditions(context: ProbeContext) -> Iterator[Measurement]:
    assert context.model.training
    assert torch.is_grad_enabled()
    assert (context.momentum, context.weight_decay) == (0.8, 0.01)
    context.memory["looks"] = context.memory.get("looks", 0) + 1
    yield Measurement("conditions", "rate", context.learning_rate)
    yield Measurement("conditions", "looks", context.memory["looks"])


def other(context: ProbeContext) -> Iterator[Measurement]:
    yield Measurement("other", "", len(context.memory))


@BOTH
def test_rates_modes_and_memory_are_those_of_the_run(engine: Any, probe: Any) -> None:
    axes = {
        "optimizer": {"name": "sgd", "momentum": 0.8, "weight_decay": 0.01},
        "lr_schedule": "cosine",
        "lr_scaling": "linear",
        "lr_reference_batch": 8,
    }
    for outcome in engine(*(probe(conditions, other, seed=seed, **axes) for seed in (0, 1))):
        rates = [row["learning_rate"] for row in outcome.epochs]
        assert values(outcome, "conditions", "rate") == rates
        assert len(set(rates)) > 2
        assert values(outcome, "conditions", "looks") == [1, 2, 3, 4]
        assert values(outcome, "other") == [0, 0, 0, 0]
        places = [(r["step"], r["epoch"]) for r in outcome.probes if r["probe"] == "other"]
        assert places == [(row["step"], row["epoch"]) for row in outcome.epochs]


def test_batches_depend_on_the_seed_alone_and_share_no_item() -> None:
    runs = {
        (norm, seed): run_of(seed, **(BASE | {"norm": norm}))
        for norm in ("batch", "none")
        for seed in (0, 1)
    }
    data = prepare(runs["batch", 0].cell)
    found = {key: probe_batches(run, data) for key, run in runs.items()}
    for seed in (0, 1):
        for (x, y), (u, v) in zip(found["batch", seed], found["none", seed], strict=True):
            assert torch.equal(x, u)
            assert torch.equal(y, v)
    drawn = torch.cat([x for x, _ in found["batch", 0]]).flatten(1)
    assert not torch.equal(drawn, torch.cat([x for x, _ in found["batch", 1]]).flatten(1))
    assert drawn.shape == (8 * 4, 64)
    train_split = data.train.x.flatten(1)
    at = [torch.nonzero((train_split == row).all(1)).flatten().tolist() for row in drawn]
    assert all(at)
    # a large batch leaves room for fewer
    large = probe_batches(run_of(**(BASE | {"batch_size": 25})), data)
    assert [len(y) for _, y in large] == [25, 25]
    assert torch.equal(torch.cat([x for x, _ in large])[:32].flatten(1), drawn)


def masks(context: ProbeContext) -> Iterator[Measurement]:
    held = [m.generator for m in context.model.modules() if hasattr(m, "generator")]
    assert len(held) == 2
    for i, generator in enumerate(held):
        first = torch.rand((), generator=generator).item()
        yield Measurement("masks", f"{i}", first)


@BOTH
def test_dropout_masks_are_the_same_at_every_evaluation_and_for_every_norm(
    engine: Any, probe: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NORMBENCH_CACHE", str(tmp_path))
    found = [engine(probe(masks, **(DROPOUT | {"norm": norm})))[0] for norm in ("batch", "layer")]
    for layer in ("0", "1"):
        assert len({v for outcome in found for v in values(outcome, "masks", layer)}) == 1
    assert values(found[0], "masks", "0") != values(found[0], "masks", "1")


# -- what becomes of the values ----------------------------------------------------------------


def broken(context: ProbeContext) -> Iterator[Measurement]:
    for layer, value in (("inf", math.inf), ("nan", math.nan), ("whole", 3), ("minus", -math.inf)):
        yield Measurement("broken", layer, value)


@BOTH
def test_numbers_that_are_not_finite_are_stored_as_nan(engine: Any, probe: Any) -> None:
    (outcome,) = engine(probe(broken))
    assert outcome.status == "finished"
    for layer in ("inf", "nan", "minus"):
        assert all(math.isnan(v) for v in values(outcome, "broken", layer))
    whole = values(outcome, "broken", "whole")
    assert whole == [3.0] * 4
    assert all(type(v) is float for v in whole)


def raising(context: ProbeContext) -> Iterator[Measurement]:
    if context.previous is not None and context.learning_rate < 0.02:
        raise RuntimeError("no such\nluck")
    yield Measurement("raising", "", 0.0)


def undeclared(context: ProbeContext) -> Iterator[Measurement]:
    yield Measurement("something-else", "", 0.0)


def doubled(context: ProbeContext) -> Iterator[Measurement]:
    yield Measurement("doubled", "fc1", 0.0)
    yield Measurement("doubled", "fc1", 1.0)


@pytest.mark.parametrize(
    ("double", "said"),
    [
        (raising, "the probe 'raising' raised RuntimeError: no such luck"),
        (undeclared, "the probe 'undeclared' gave the quantity 'something-else'"),
        (doubled, "the probe 'doubled' gave 'doubled' of 'fc1' twice"),
    ],
)
@pytest.mark.parametrize("engine", ["plain", "packed"])
def test_a_probe_that_fails_fails_its_run_alone_and_is_named(
    engine: str, probe: Any, double: Double, said: str
) -> None:
    bad = probe(double, learning_rate=0.01)
    runs = (probe(double, learning_rate=0.05), bad) if double is raising else (bad,)
    rows = train_group(Group("g", runs, "cpu", "exec", EngineSpec(engine, "", 1)))
    assert [row["status"] for row in rows.runs] == ["finished", "failed"][-len(runs) :]
    assert rows.runs[-1]["error"].startswith(f"ProbeError: {said}")
    assert rows.runs[-1]["probe_values"] is None
    for table in (rows.epochs, rows.probes, rows.predictions):
        assert {row["run_hash"] for row in table} == {run.run_hash for run in runs[:-1]}


@BOTH
def test_a_run_that_has_diverged_is_not_probed_any_more(engine: Any) -> None:
    wild = {"norm": "none", "learning_rate": 1e6, "probes": ["weights"], "evaluations": 15}
    calm = wild | {"learning_rate": 0.01}
    runs = [run_of(**(BASE | axes)) for axes in (wild, calm)]
    dead, alive = engine(*runs)
    assert dead.status == "diverged"
    steps = sorted({r["step"] for r in dead.probes})
    assert steps == [row["step"] for row in dead.epochs[:-1]]
    assert sorted({r["step"] for r in alive.probes}) == [row["step"] for row in alive.epochs]


@pytest.mark.parametrize("engine", ["plain", "packed"])
def test_the_time_of_probes_is_recorded_apart(engine: str) -> None:
    axes = BASE | SHORT | {"norm": "batch"}
    runs = tuple(run_of(seed, **axes, probes=["weights", "landscape"]) for seed in (0, 1))
    rows = train_group(Group("g", runs, "cpu", "exec", EngineSpec(engine, "", 1)))
    for row in rows.runs:
        assert row["probe_seconds"] > row["train_seconds"]
        parts = row["train_seconds"] + row["eval_seconds"]
        assert parts > 0
        own = [r for r in rows.probes if r["run_hash"] == row["run_hash"]]
        assert row["probe_values"] == len(own) > 0
    spent = sum(r["train_seconds"] + r["eval_seconds"] + r["probe_seconds"] for r in rows.runs)
    assert spent <= sum(row["seconds"] for row in rows.runs) * 1.001
    plain = train_group(Group("g", (run_of(**axes),), "cpu", "exec", EngineSpec(engine, "", 1)))
    assert plain.runs[0]["probe_seconds"] is plain.runs[0]["probe_values"] is None
    assert plain.probes == []


def slow(context: ProbeContext) -> Iterator[Measurement]:
    time.sleep(0.0 if context.previous is None else 0.2)
    yield Measurement("slow", "", 0.0)


def test_an_estimate_of_a_run_counts_its_probes(probe: Any) -> None:
    run = probe(slow, budget_steps=3, evaluations=3)
    assert 4 * 0.2 < estimate(run).seconds < 30 * 0.2
    estimate(probe(undeclared))  # one that fails is told by the run itself
