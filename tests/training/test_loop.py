"""The plain loop: against a loop written out, paired, repeatable, honest about divergence."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from normbench.errors import UndefinedError, UsageError
from normbench.models import make
from normbench.models.describe import network
from normbench.models.plain import build, initialise
from normbench.training import plain
from normbench.training.data import epoch_order, prepare
from normbench.training.engine import global_norm
from normbench.training.evaluate import PlainEvaluator, evaluate
from normbench.training.plain import uses_onednn
from tests.builders import cell, run_of
from tests.training.engines import train_alone

CNN = {"name": "small-cnn", "width": 4}


@pytest.mark.parametrize(
    "axes",
    [
        {"norm": "none"}, {"norm": "batch"}, {"norm": "layer", "position": "post"},
        {"norm": "batch", "model": CNN, "batch_size": 7},
        {
            "norm": "group",
            "optimizer": {
                "name": "sgd", "momentum": 0, "weight_decay": 0.1, "decay_norms": True,
            },
        },
        {"norm": "none", "lr_scaling": "sqrt", "lr_reference_batch": 2, "init": "he"},
    ],
    ids=str,
)  # fmt: skip
def test_a_run_is_the_loop_that_anyone_would_write(trained: Any, axes: dict[str, Any]) -> None:
    found = trained(3, epochs=2, **axes)
    one = cell(epochs=2, **axes)
    data = prepare(one)
    model = build(network(one, data.shape, 10))
    initialise(model, 3, one.init)
    torch.backends.mkldnn.enabled = uses_onednn(one.batch_size, data.shape)  # type: ignore[assignment]
    rate = one.learning_rate or math.nan
    if one.lr_scaling == "sqrt":
        rate *= math.sqrt(one.batch_size / one.lr_reference_batch)
    optimizer = torch.optim.SGD(
        model.parameters(), rate, one.optimizer.params["momentum"],
        weight_decay=one.optimizer.params["weight_decay"],
    )  # fmt: skip
    steps = 60 // one.batch_size
    rows = [row for row in found.epochs if row["step"]]
    assert [row["step"] for row in rows] == [steps, 2 * steps]
    for epoch, row in enumerate(rows):
        order = epoch_order(3, epoch, 60)
        losses, hits = [], 0
        for i in range(steps):
            index = order[i * one.batch_size : (i + 1) * one.batch_size]
            x, y = data.train.x[index], data.train.y[index]
            logits = model(x)
            loss = functional.cross_entropy(logits, y)
            before = nn.utils.parameters_to_vector(model.parameters()).clone()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            hits += int((logits.argmax(1) == y).sum())
        after = nn.utils.parameters_to_vector(model.parameters())
        gradient = torch.cat([p.grad.flatten() for p in model.parameters()])  # type: ignore[union-attr]
        close = {"rel": 1e-3, "abs": 1e-5}
        assert row["train_loss"] == pytest.approx(sum(losses) / steps, **close)
        assert row["train_accuracy"] == pytest.approx(hits / (steps * one.batch_size))
        assert row["grad_norm"] == pytest.approx(gradient.norm().item(), **close)
        assert row["update_norm"] == pytest.approx((after - before).norm().item(), **close)
        assert row["weight_norm"] == pytest.approx(after.norm().item(), **close)
        assert row["learning_rate"] == pytest.approx(rate)
        model.eval()
        with torch.no_grad():
            loss = functional.cross_entropy(model(data.validation.x), data.validation.y)
        model.train()
        assert row["val_loss"] == pytest.approx(loss.item(), **close)


def test_what_an_outcome_counts(trained: Any) -> None:
    found = trained(epochs=3, batch_size=8)
    assert found.status == "finished"
    assert found.error is None
    assert (found.steps, found.samples) == (3 * 7, 3 * 7 * 8)
    assert (found.parameters, found.buffers) == (1040 + 272 + 170 + 64, 64)
    assert found.classes == 10
    assert [row["epoch"] for row in found.epochs] == [0, 1, 2, 3]
    assert [row["samples"] for row in found.epochs] == [0, 56, 112, 168]
    assert set(found.predictions) == {"running", "recomputed", "batch"}
    for kind, bits in found.predictions.items():
        prefix = "test" if kind == "running" else f"test_{kind}"
        assert len(bits) == 20
        assert bits.mean() == found.epochs[-1][f"{prefix}_accuracy"]


def test_the_row_before_training_has_no_training_columns(trained: Any) -> None:
    first, second = trained().epochs
    training = {"train_loss", "train_accuracy", "grad_norm", "update_norm"}
    assert training & set(first) == set()
    assert training <= set(second)
    assert set(first) == set(second) - training
    assert first["val_loss"] == pytest.approx(math.log(10), abs=0.4)


def test_training_lowers_the_loss(trained: Any) -> None:
    found = trained(norm="layer", epochs=8, learning_rate=0.02)
    assert found.epochs[-1]["train_eval_loss"] < 0.3 * found.epochs[0]["train_eval_loss"]
    assert found.epochs[-1]["val_accuracy"] > 0.5


# -- pairing and repeatability -----------------------------------------------------------------


def first_batches(monkeypatch: pytest.MonkeyPatch, **axes: Any) -> list[tuple[Any, ...]]:
    """The inputs of all training batches of a run, one item after the other."""
    seen: list[Any] = []
    run = run_of(5, **axes)
    data = prepare(run.cell)
    wrapped = build(network(run.cell, data.shape, 10))

    def remember(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        if module.training:
            seen.extend(tuple(x.flatten().tolist()) for x in inputs[0])

    wrapped.register_forward_pre_hook(remember)
    monkeypatch.setattr(make, "build", lambda *_: wrapped)
    train_alone(run, data)
    monkeypatch.undo()
    return seen


def test_every_configuration_sees_the_items_in_the_same_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wanted = first_batches(monkeypatch, norm="none", batch_size=1, epochs=2)
    assert len(wanted) == 120
    assert set(wanted[:60]) == set(wanted[60:])
    assert wanted[:60] != wanted[60:]
    for axes in (
        {"norm": "batch", "batch_size": 4}, {"norm": "layer", "batch_size": 15},
        {"norm": "group", "batch_size": 60, "learning_rate": 0.5, "evaluations_per_epoch": 5},
        {"norm": "none", "batch_size": 10, "model": CNN, "init": "he"},
    ):  # fmt: skip
        assert first_batches(monkeypatch, epochs=2, **axes) == wanted, axes
    short = first_batches(monkeypatch, norm="none", batch_size=8, epochs=2)
    assert short[:56] == wanted[:56]
    assert short[56:] == wanted[60:116], "a short last batch is left out"


def test_norms_that_are_the_identity_at_the_start_are_paired(trained: Any) -> None:
    """At the start batch norm with fresh running statistics is the identity up to eps."""
    batch, none = trained(norm="batch"), trained(norm="none")
    assert batch.epochs[0]["val_loss"] == pytest.approx(none.epochs[0]["val_loss"], rel=1e-4)


@pytest.mark.parametrize("axes", [{}, {"model": CNN, "batch_size": 4}, {"norm": "layer"}], ids=str)
def test_two_runs_give_identical_metrics(trained: Any, metrics: Any, axes: Any) -> None:
    one, other = trained(7, epochs=2, **axes), trained(7, epochs=2, **axes)
    assert metrics(one) == metrics(other)
    assert {k: v.tolist() for k, v in one.predictions.items()} == {
        k: v.tolist() for k, v in other.predictions.items()
    }
    assert metrics(trained(8, epochs=2, **axes)) != metrics(one)


def test_a_run_does_not_depend_on_what_the_process_trained_before(
    trained: Any, metrics: Any
) -> None:
    last = {"model": CNN, "norm": "batch", "batch_size": 20, "epochs": 2}
    alone = metrics(trained(1, **last))
    trained(4, model=CNN, norm="instance", batch_size=2)  # chooses other convolutions
    trained(5, norm="none", learning_rate=1e6, split_seed=3)
    torch.manual_seed(99)
    torch.rand(5)
    assert metrics(trained(1, **last)) == alone


def test_training_leaves_the_global_generator_alone(trained: Any) -> None:
    before = torch.get_rng_state()
    trained()
    assert torch.equal(before, torch.get_rng_state())


def test_the_number_of_evaluations_changes_no_number(trained: Any, metrics: Any) -> None:
    def at_epochs(evaluations: int) -> list[dict[str, Any]]:
        found = trained(2, epochs=2, norm="batch", evaluations_per_epoch=evaluations)
        own = {"train_loss", "train_accuracy"}  # means since the row before
        rows = [row for row in metrics(found) if row["step"] % 7 == 0]
        return [{k: v for k, v in row.items() if k not in own} for row in rows]

    assert len(at_epochs(1)) == 3
    assert at_epochs(1) == at_epochs(3) == at_epochs(7)


def test_without_evaluation_training_is_bit_identical(
    trained: Any, metrics: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    norms = ("weight_norm", "update_norm", "grad_norm", "train_loss")

    def training_of(found: Any) -> list[Any]:
        return [[row.get(name) for name in norms] for row in metrics(found)]

    wanted = training_of(trained(epochs=3, norm="batch"))
    other = build(network(cell(norm="none"), (1, 8, 8), 10))
    initialise(other, 0, "torch")
    nothing = evaluate(PlainEvaluator(other), prepare(cell()), 8, 16)
    monkeypatch.setattr(plain, "evaluate", lambda *_, **__: nothing)
    assert training_of(trained(epochs=3, norm="batch")) == wanted
    assert len(wanted) == 4


# -- ends that are no finish -------------------------------------------------------------------

NUMBERS = {"val_loss", "val_accuracy", "test_loss", "test_accuracy", "train_eval_loss"}


@pytest.mark.parametrize("model", [{"name": "mlp", "width": 16}, CNN], ids=str)
@pytest.mark.parametrize("norm", ["none", "batch", "layer"])
def test_weights_that_overflow_end_the_run_as_diverged(trained: Any, model: Any, norm: str) -> None:
    decay = {"name": "sgd", "weight_decay": 1e4}  # w ← −10¹⁰·w: beyond float32 in four steps
    found = trained(model=model, norm=norm, learning_rate=1e6, optimizer=decay, epochs=3)
    assert found.status == "diverged"
    assert found.error is None
    assert found.steps == 7, "the run ends at the evaluation that finds it"
    assert [row["step"] for row in found.epochs] == [0, 7]
    first, last = found.epochs
    assert all(math.isfinite(first[name]) for name in NUMBERS)
    scores = {k for k in first if k.startswith(("val_", "test_", "train_eval_"))}
    assert scores >= NUMBERS
    assert scores <= set(last), "a column that an evaluation fills is not left out"
    assert all(math.isnan(last[name]) for name in scores)
    assert not math.isfinite(last["weight_norm"])


def test_a_high_learning_rate_diverges_and_keeps_its_epochs(trained: Any, metrics: Any) -> None:
    found = trained(norm="none", learning_rate=1e6, epochs=5, evaluations_per_epoch=7)
    steps = [row["step"] for row in found.epochs]
    assert found.status == "diverged"
    assert found.steps == steps[-1] < 35
    assert steps == list(range(len(steps)))
    finite = [row for row in found.epochs if math.isfinite(row["val_loss"])]
    assert finite == found.epochs[:-1]
    assert not math.isfinite(found.epochs[-1]["val_loss"])
    # the predictions are those of the last evaluation that gave numbers
    assert found.predictions["running"].mean() == finite[-1]["test_accuracy"]
    same = trained(norm="none", learning_rate=1e6, epochs=1, evaluations_per_epoch=7)
    assert metrics(same)[: len(finite)] == metrics(found)[: len(finite)]


def test_a_run_that_has_diverged_before_training_has_no_predictions(
    trained: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def poisoned(model: Any, *rest: Any) -> None:
        initialise(model, *rest)
        with torch.no_grad():
            model.parts["fc1"].weight.fill_(math.inf)

    monkeypatch.setattr(make, "initialise", poisoned)
    found = trained(norm="batch")
    assert found.status == "diverged"
    assert (found.steps, found.samples, found.predictions) == (0, 0, {})
    assert len(found.epochs) == 1
    assert math.isnan(found.epochs[0]["val_batch_loss"])


def test_a_loss_without_number_in_evaluation_alone_ends_the_run(
    trained: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The weights are finite and batch norm's running statistics are broken."""

    def poisoned(model: Any, *rest: Any) -> None:
        initialise(model, *rest)
        model.parts["fc2_norm"].running_mean.fill_(math.nan)

    monkeypatch.setattr(make, "initialise", poisoned)
    found = trained(norm="batch")
    assert found.status == "diverged"
    row = found.epochs[-1]
    assert math.isfinite(row["weight_norm"])
    assert math.isnan(row["val_loss"])
    assert math.isfinite(row["val_batch_loss"])
    assert found.predictions == {}


def test_diverged_runs_are_repeatable(trained: Any, metrics: Any) -> None:
    axes = {"norm": "none", "learning_rate": 1e6, "epochs": 3}
    assert metrics(trained(1, **axes)) == metrics(trained(1, **axes))


def test_a_batch_beyond_the_training_split_is_a_fault(trained: Any) -> None:
    with pytest.raises(UsageError, match="must not exceed the training split"):
        trained(batch_size=61)


def test_an_undefined_cell_cannot_be_trained(trained: Any) -> None:
    with pytest.raises(UndefinedError, match="at site fc1"):
        trained(norm="batch", batch_size=1)


def test_the_norm_of_several_tensors() -> None:
    tensors = [torch.tensor([3.0]), torch.tensor([[0.0, 4.0], [0.0, 12.0]])]
    assert global_norm(tensors) == 13.0
    assert global_norm([]) == 0.0


def test_ghost_batches_are_an_axis_of_their_own(trained: Any) -> None:
    whole = trained(norm="batch", batch_size=8)
    same = trained(norm="batch", batch_size=8, norm_batch_size=8)
    ghost = trained(norm="batch", batch_size=8, norm_batch_size=2)
    assert same.epochs[-1]["val_loss"] == whole.epochs[-1]["val_loss"]
    assert ghost.epochs[-1]["val_loss"] != whole.epochs[-1]["val_loss"]
    assert ghost.steps == whole.steps
    with pytest.raises(UsageError, match="must divide batch_size"):
        trained(norm="batch", batch_size=8, norm_batch_size=3)
