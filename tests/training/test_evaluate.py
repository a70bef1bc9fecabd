"""Evaluation: three kinds of statistics against plain loops, and nothing changed by any."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from normbench.models.describe import network
from normbench.models.plain import Net, build, initialise
from normbench.norms.batch import BatchNorm
from normbench.training.data import Part, Prepared, prepare
from normbench.training.evaluate import (
    Evaluation,
    PlainEvaluator,
    Score,
    batch_norms,
    evaluate,
    scores,
)
from tests.builders import cell

MODELS = [{"name": "mlp", "width": 16}, {"name": "small-cnn", "width": 4}]


def case(steps: int = 6, **axes: Any) -> tuple[Net, Prepared]:
    """A model after a few training steps, in float64, and its data."""
    one = cell(**axes)
    found = prepare(one)
    data = Prepared(
        *(type(p)(p.x.double(), p.y) for p in (found.train, found.validation, found.test)), 10
    )
    model = build(network(one, data.shape, 10)).double()
    initialise(model, 0, "torch")
    model.train()
    for i in range(steps):
        x, y = data.train.x[i * 8 : i * 8 + 8], data.train.y[i * 8 : i * 8 + 8]
        gradients = torch.autograd.grad(
            functional.cross_entropy(model(x), y), list(model.parameters())
        )
        with torch.no_grad():
            for p, g in zip(model.parameters(), gradients, strict=True):
                p -= 0.5 * g
    return model, data


def score(model: Net, part: Part, batch: int = 0) -> Score:
    """Of the only member, with running statistics, or those of each batch."""
    (found,) = scores(PlainEvaluator(model), part, batch=batch)
    return found


def evaluation(model: Net, data: Prepared, batch: int, samples: int) -> Evaluation:
    """Of the only member."""
    (found,) = evaluate(PlainEvaluator(model), data, batch, samples)
    return found


def torch_copy(model: Net) -> nn.Module:
    """The same network with torch's own batch norm layers."""
    twin = copy.deepcopy(model)
    for name, part in twin.parts.items():
        if isinstance(part, BatchNorm):
            image = name.startswith("conv")
            theirs = (nn.BatchNorm2d if image else nn.BatchNorm1d)(part.channels, eps=part.eps)
            twin.parts[name] = theirs.double()
            theirs.load_state_dict({**part.state_dict(), "num_batches_tracked": torch.tensor(0)})
    return twin


def by_hand(logits: Tensor, labels: Tensor) -> tuple[float, float, list[bool]]:
    """Mean cross-entropy, accuracy and hits, item by item in numpy."""
    values = logits.detach().numpy()
    losses = [
        float(np.log(np.exp(row - row.max()).sum()) + row.max() - row[y])
        for row, y in zip(values, labels.tolist(), strict=True)
    ]
    hits = [int(row.argmax()) == y for row, y in zip(values, labels.tolist(), strict=True)]
    return sum(losses) / len(losses), sum(hits) / len(hits), hits


@pytest.mark.parametrize("model", MODELS, ids=str)
@pytest.mark.parametrize("norm", ["none", "batch", "layer"])
def test_running_statistics_are_plain_evaluation(model: Any, norm: str) -> None:
    net, data = case(model=model, norm=norm)
    found = score(net, data.validation)
    loss, accuracy, hits = by_hand(torch_copy(net).eval()(data.validation.x), data.validation.y)
    assert found.loss == pytest.approx(loss, rel=1e-10)
    assert found.accuracy == accuracy
    assert found.correct.tolist() == hits


@pytest.mark.parametrize("model", MODELS, ids=str)
@pytest.mark.parametrize("size", [2, 3, 5, 7, 20, 33])
def test_batch_statistics_are_a_loop_over_batches(model: Any, size: int) -> None:
    net, data = case(model=model)
    found = score(net, data.validation, size)
    part, twin = data.validation, torch_copy(net).train()
    items = len(part)
    logits = torch.zeros(items, 10, dtype=torch.float64)
    for start in range(0, items, size):
        index = [i % items for i in range(start, start + size)]
        output = twin(part.x[index])
        keep = min(size, items - start)
        logits[start : start + keep] = output[:keep].detach()
    loss, accuracy, hits = by_hand(logits, part.y)
    assert found.loss == pytest.approx(loss, rel=1e-9)
    assert found.accuracy == accuracy
    assert found.correct.tolist() == hits
    assert len(found.correct) == items


@pytest.mark.parametrize("model", MODELS, ids=str)
@pytest.mark.parametrize(("size", "samples"), [(2, 1024), (5, 30), (6, 58), (20, 1), (60, 1024)])
def test_recomputed_statistics_are_a_loop_in_training_mode(
    model: Any, size: int, samples: int
) -> None:
    net, data = case(model=model)
    used = min(max(samples // size, 1) * size, len(data.train))
    assert used % size == 0
    twin = torch_copy(net).train()
    inputs: dict[str, list[Tensor]] = {}
    for name, part in twin.parts.items():
        if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
            part.register_forward_pre_hook(
                lambda _m, x, name=name: inputs.setdefault(name, []).append(x[0].detach())
            )
    for start in range(0, used, size):
        twin(data.train.x[start : start + size])
    assert inputs
    with PlainEvaluator(net).recomputed([data.train.x[:used]], size):
        for name, seen in inputs.items():
            values = torch.cat(seen).transpose(0, 1).flatten(1)
            layer = net.parts[name]
            assert isinstance(layer, BatchNorm)
            assert torch.allclose(layer.running_mean, values.mean(1), rtol=1e-9, atol=1e-12)
            variance = values.var(1, correction=0)
            assert torch.allclose(layer.running_var, variance, rtol=1e-9, atol=1e-12)
        within = score(net, data.test).loss
    found = evaluation(net, data, size, samples)
    assert found.test["recomputed"].loss == within
    assert found.test["running"].loss == score(net, data.test).loss
    assert within != found.test["running"].loss


def test_the_three_kinds_belong_to_batch_norm_alone() -> None:
    for norm in ("none", "layer", "group"):
        found = evaluation(*case(norm=norm), 8, 1024)
        assert set(found.validation) == set(found.test) == {"running"}
    for norm in ("batch-renorm", "batch-frozen"):
        assert len(evaluation(*case(norm=norm), 8, 1024).test) == 3
    found = evaluation(*case(norm="batch"), 8, 1024)
    assert set(found.validation) == set(found.test) == {"running", "recomputed", "batch"}
    losses = [found.test[k].loss for k in ("running", "recomputed", "batch")]
    assert len(set(losses)) == 3


def test_the_subset_of_training_is_the_first_items(monkeypatch: pytest.MonkeyPatch) -> None:
    net, data = case(norm="layer")
    monkeypatch.setattr("normbench.training.evaluate.TRAIN_EVAL_ITEMS", 25)
    found = evaluation(net, data, 8, 1024).train
    loss, accuracy, _ = by_hand(net.eval()(data.train.x[:25]), data.train.y[:25])
    assert (found.loss, found.accuracy) == (pytest.approx(loss, rel=1e-10), accuracy)
    assert len(found.correct) == 25


@pytest.mark.parametrize("norm", ["batch", "layer"])
@pytest.mark.parametrize("training", [True, False])
def test_evaluation_changes_nothing(norm: str, training: bool) -> None:
    net, data = case(norm=norm, model=MODELS[1])
    net.train(training)
    state = {k: v.clone() for k, v in net.state_dict().items()}
    gradients = [p.grad for p in net.parameters()]
    generator = torch.get_rng_state()
    numbers = np.random.get_state()[1].tolist()  # type: ignore[union-attr]
    first = evaluation(net, data, 4, 40)
    assert all(torch.equal(state[k], v) for k, v in net.state_dict().items())
    assert gradients == [p.grad for p in net.parameters()]
    assert torch.equal(generator, torch.get_rng_state())
    assert numbers == np.random.get_state()[1].tolist()  # type: ignore[union-attr]
    assert all(m.training == training for m in net.modules())
    assert all((m.mode, m.evaluation_batch) == ("running", 0) for m in batch_norms(net))
    again = evaluation(net, data, 4, 40)
    assert first.test["running"].loss == again.test["running"].loss
    assert {k: s.loss for k, s in first.test.items()} == {k: s.loss for k, s in again.test.items()}


def test_an_error_within_leaves_the_layer_as_it_was() -> None:
    net, data = case()
    kept = [m.running_mean.clone() for m in batch_norms(net)]

    def fails() -> None:
        with PlainEvaluator(net).recomputed([data.train.x[:40]], 4):
            assert not torch.equal(batch_norms(net)[0].running_mean, kept[0])
            raise RuntimeError("within")

    with pytest.raises(RuntimeError, match="within"):
        fails()
    assert all(torch.equal(m.running_mean, k) for m, k in zip(batch_norms(net), kept, strict=True))
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        score(net, Part(data.test.x[:, :, :4], data.test.y), 4)
    assert net.training
    assert all(m.mode == "running" for m in batch_norms(net))


def test_a_loss_that_is_no_number_is_told() -> None:
    net, data = case(norm="none")
    assert evaluation(net, data, 8, 64).finite
    with torch.no_grad():
        net.parts["classifier"].bias[0] = float("nan")
    found = evaluation(net, data, 8, 64)
    assert not found.finite
    assert not found.train.finite
