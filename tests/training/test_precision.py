"""Networks that compute in 16 bits: what does, what does not, and float16's loss scaling."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from normbench.calibration.candidates import together
from normbench.calibration.tasks import Calibration
from normbench.calibration.trial import why_not_stacked
from normbench.errors import UsageError
from normbench.plan.spec import RunSpec
from normbench.training import loss_scale, plain, stacked
from normbench.training.check import check_cell
from normbench.training.data import prepare
from normbench.training.engine import Engine
from normbench.training.loop import Outcome, train
from normbench.training.loss_scale import LossScale
from normbench.training.plain import PlainEngine
from normbench.training.stacked import StackedEngine
from tests.builders import cell, run_of
from tests.training.engines import assert_as_alone, in_double
from tests.training.foreign import foreign_runs

BASE: dict[str, Any] = {
    "model": {"name": "small-cnn", "width": 4}, "batch_size": 6, "budget_steps": 9,
    "evaluations": 3, "statistics_samples": 20, "learning_rate": 0.05,
}  # fmt: skip
SHORT = {"bf16": torch.bfloat16, "fp16": torch.float16}
#: Norms, with what they compute in where it is not float32.
NORMS = [
    *((norm, "fp32") for norm in ("none", "batch", "layer", "batch-renorm", "batch-frozen", "rms")),
    ("weight", "autocast"), ("batch", "autocast"), ("layer", "autocast"),
]  # fmt: skip


def runs_of(count: int, **axes: Any) -> list[RunSpec]:
    return [run_of(seed=seed, **(BASE | axes)) for seed in range(count)]


def alone(run: RunSpec) -> Outcome:
    (outcome,) = train(PlainEngine(run, prepare(run.cell)))
    return outcome


@pytest.mark.parametrize("precision", SHORT)
@pytest.mark.parametrize(("norm", "norms"), NORMS)
def test_runs_are_near_those_in_float32_and_stack(
    precision: str, norms: str, norm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loss_scale, "FIRST", 2.0**10)  # nothing is skipped
    axes = {"precision": precision, "norm_precision": norms, "norm": norm}
    runs, (whole,) = runs_of(2, **axes), runs_of(1, norm=norm)
    found, wanted = alone(runs[0]), alone(whole)
    for row, other in zip(found.epochs, wanted.epochs, strict=True):
        assert row["val_loss"] == pytest.approx(other["val_loss"], rel=0.05)
        assert row["val_loss"] != other["val_loss"]
    against = why_not_stacked(runs[0], prepare(runs[0].cell))
    if norms == "fp32" or norm in ("none", "weight"):
        assert against == ""
    if not against:
        for row, other in zip(
            train(StackedEngine(runs, prepare(runs[0].cell)))[0].epochs, found.epochs, strict=True
        ):
            assert row["val_loss"] == pytest.approx(other["val_loss"], rel=0.05)
    assert found.skipped_updates == (None if precision == "bf16" else 0)
    assert wanted.skipped_updates is None


@pytest.mark.parametrize("precision", SHORT)
@pytest.mark.parametrize("norms", ["fp32", "autocast"])
@pytest.mark.parametrize("engine", ["plain", "stacked"])
def test_norms_compute_in_float32_unless_said(
    precision: str, norms: str, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What they are given, and what a product within them gives."""
    seen = set()
    real = nn.functional.layer_norm

    def watched(x: Tensor, *rest: Any, **more: Any) -> Tensor:
        seen.add((x.dtype, (x.flatten(1) @ x.flatten(1).T).dtype))
        return real(x, *rest, **more)

    runs = runs_of(2, norm="layer", precision=precision, norm_precision=norms)
    data = prepare(runs[0].cell)
    made = PlainEngine(runs[0], data) if engine == "plain" else StackedEngine(runs, data)
    monkeypatch.setattr("torch.nn.functional.layer_norm", watched)
    index = torch.arange(6 * len(made.runs)).view(-1, 6)
    _, outputs, _ = made.gradients(index)
    made.evaluate()
    kind = torch.float32 if norms == "fp32" else SHORT[precision]
    assert seen == {(kind, kind)}
    assert outputs.dtype == torch.float32
    assert {p.dtype for p in made.export(0).parameters()} == {torch.float32}


@pytest.mark.parametrize("precision", ["fp32", *SHORT])
@pytest.mark.parametrize("norm", ["layer", "weight"])
@pytest.mark.parametrize("engine", ["plain", "stacked"])
def test_products_and_convolutions_compute_in_16_bits(
    precision: str, norm: str, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = set()
    runs = runs_of(2, norm=norm, precision=precision)
    data = prepare(runs[0].cell)
    made = PlainEngine(runs[0], data) if engine == "plain" else StackedEngine(runs, data)
    for name in ("conv2d", "linear"):
        real = getattr(nn.functional, name)

        def watched(*args: Any, real: Any = real, name: str = name, **more: Any) -> Tensor:
            found = real(*args, **more)
            seen.add((name, found.dtype))
            return found

        monkeypatch.setattr(f"torch.nn.functional.{name}", watched)
    made.gradients(torch.arange(6 * len(made.runs)).view(-1, 6))
    made.evaluate()
    wanted = SHORT.get(precision, torch.float32)
    assert seen == {("conv2d", wanted), ("linear", wanted)}


@pytest.mark.parametrize("precision", SHORT)
@pytest.mark.parametrize("kind", ["lstm", "gru"])
@pytest.mark.parametrize("norm", ["layer", "batch", {"name": "batch", "time": "pooled"}])
def test_recurrent_nets_keep_their_states_in_float32(precision: str, kind: str, norm: Any) -> None:
    axes = {"norm": norm, "model": {"name": kind, "hidden": 4},
            "dataset": {"name": "digits-rows", "items": 100}}  # fmt: skip
    runs = runs_of(2, precision=precision, **axes)
    assert why_not_stacked(runs[0], prepare(runs[0].cell)) == ""
    (whole,) = runs_of(1, **axes)
    last, wanted = alone(runs[0]).epochs[-1], alone(whole).epochs[-1]
    assert last["val_loss"] == pytest.approx(wanted["val_loss"], rel=0.05)
    assert last["val_loss"] != wanted["val_loss"]


@pytest.mark.parametrize("precision", SHORT)
def test_in_float64_the_stacked_engine_gives_the_plain_engines_rows(precision: str) -> None:
    """Autocast leaves float64 alone: what is left is the scaling, and each member's optimizer."""
    for axes in (
        {"norm": "batch", "ema": 0.9, "accumulate": 3},
        {"norm": "layer", "optimizer": "adam", "clip_norm": 0.1},
    ):
        assert_as_alone(runs_of(3, precision=precision, **axes), make=StackedEngine)


# -- loss scaling ------------------------------------------------------------------------------


def test_scales_are_those_of_torchs_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loss_scale, "INTERVAL", 3)
    theirs = torch.amp.GradScaler("cpu", init_scale=2.0**16, growth_interval=3)
    ours = LossScale(2, "cpu")
    weight = nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    for finite in [1, 1, 1, 0, 1, 1, 0, 0, 1, 1, 1, 1, 1, 1, 0]:
        before = float(weight.detach())
        (theirs.scale(weight.sum()) if finite else weight.sum() * math.inf).backward()
        theirs.step(optimizer)
        theirs.update()
        optimizer.zero_grad()
        norms = torch.tensor([1.0 if finite else math.inf, math.nan if finite == 2 else 1.0])
        taken, other = ours.steps(norms)
        assert taken == (float(weight.detach()) != before)
        assert other
        assert float(ours.values[0]) == theirs.get_scale()
    assert ours.skipped == [4, 0]


@pytest.mark.parametrize("make", [lambda runs, data: PlainEngine(runs[0], data), StackedEngine])
def test_an_overflow_is_no_divergence_and_is_counted(
    make: Callable[..., Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A scale that is far too large is halved until gradients fit into float16."""
    monkeypatch.setattr(loss_scale, "FIRST", 2.0**26)
    runs = runs_of(2, norm="batch", precision="fp16", budget_steps=40, evaluations=2)
    engine = make(runs, prepare(runs[0].cell))
    for outcome in train(engine):
        assert outcome.status == "finished"
        assert outcome.skipped_updates is not None
        assert 1 <= outcome.skipped_updates <= 30
        assert outcome.epochs[-1]["train_loss"] < outcome.epochs[1]["train_loss"]


class Scripted(LossScale):
    """Members leave out the steps of a script: at step s that one for which it says so."""

    def __init__(self, places: Sequence[int]) -> None:
        super().__init__(len(places), "cpu")
        self.places, self.step = places, 0

    def steps(self, norms: Tensor) -> list[bool]:
        self.step += 1
        left = [self.step % 3 == place for place in self.places]
        return super().steps(torch.where(torch.tensor(left), math.inf, norms))


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_members_skip_steps_each_by_itself(optimizer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The optimizer's memory of one that skips stays as it was: rows are the plain engine's."""
    runs = runs_of(3, norm="batch", precision="fp16", optimizer=optimizer, ema=0.5)
    data = in_double(prepare(runs[0].cell))
    monkeypatch.setattr(stacked, "LossScale", lambda *_: Scripted([0, 1, 7]))
    found = train(StackedEngine(runs, data))
    assert [one.skipped_updates for one in found] == [3, 3, 0]
    for member, place in enumerate([0, 1, 7]):
        monkeypatch.setattr(plain, "LossScale", lambda *_, at=place: Scripted([at]))
        (wanted,) = train(PlainEngine(runs[member], data))
        for row, other in zip(found[member].epochs, wanted.epochs, strict=True):
            for key in ("val_loss", "train_loss", "weight_norm", "update_norm", "test_batch_loss"):
                if key in row:
                    assert row[key] == pytest.approx(other[key], rel=1e-9, abs=1e-12), key


@pytest.mark.parametrize("make", [lambda runs, data: PlainEngine(runs[0], data), StackedEngine])
def test_gradients_that_no_scale_mends_are_a_divergence(
    make: Callable[..., Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run does not end as one that has quietly learned nothing."""
    monkeypatch.setattr(loss_scale, "FIRST", 2.0**-12)

    class Broken(LossScale):
        def steps(self, norms: Tensor) -> list[bool]:
            return super().steps(norms + math.nan)

    for module in (plain, stacked):
        monkeypatch.setattr(module, "LossScale", Broken)
    real = plain.global_norm
    runs = runs_of(1, norm="batch", precision="fp16")
    engine = make(runs, prepare(runs[0].cell))
    gradients = engine.gradients

    def spoilt(*args: Any, **kwargs: Any) -> Any:
        found = gradients(*args, **kwargs)
        engine._gradients = [g * math.nan for g in engine._gradients]  # type: ignore[attr-defined]
        return found

    monkeypatch.setattr(engine, "gradients", spoilt)
    (outcome,) = train(engine)
    assert (outcome.status, outcome.skipped_updates) == ("diverged", 2)
    assert real is plain.global_norm


# -- which engines, and which settings ---------------------------------------------------------


def test_the_packed_engine_is_left_out_with_a_reason() -> None:
    def found(**axes: Any) -> Any:
        run = run_of(norm="layer", **axes)
        task = Calibration("key", run, 8, 8, "cpu", 1, "auto")
        return together(task, prepare(run.cell), 1.0)

    short = found(precision="bf16")
    assert {spec.name for spec in short.specs} == {"stacked"}
    assert short.reason == "the packed engine computes in fp32 alone, not in bf16"
    for axes in ({}, {"accumulate": 2}, {"ema": 0.9}):
        assert {spec.name for spec in found(**axes).specs} == {"packed"}
        assert found(**axes).reason == ""


def test_a_module_that_stacks_in_float64_alone_has_a_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = StackedEngine.gradients

    def raising(engine: StackedEngine, index: Tensor, **more: Any) -> Any:
        if engine.data.train.dtype == torch.float32:
            raise RuntimeError("no such kernel")
        return real(engine, index, **more)

    monkeypatch.setattr(StackedEngine, "gradients", raising)
    for precision, said in (("fp32", ""), ("bf16", "stacking raises RuntimeError: no such kernel")):
        (run,) = runs_of(1, norm="layer", precision=precision)
        assert why_not_stacked(run, prepare(run.cell)) == said


def test_a_norm_of_another_package_is_put_into_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = foreign_runs(monkeypatch, "frn", 2, **(BASE | {"precision": "bf16"}))
    assert why_not_stacked(runs[0], prepare(runs[0].cell)) == ""
    assert alone(runs[0]).status == "finished"


def test_a_norms_precision_is_only_asked_in_16_bits() -> None:
    with pytest.raises(UsageError, match="norm_precision = 'autocast' is for networks that"):
        check_cell(cell(norm_precision="autocast"))
    assert check_cell(cell(norm_precision="autocast", precision="bf16")) is None
