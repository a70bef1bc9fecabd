"""Evaluation of all members together against the plain functions, in every mode."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

from normbench.models.packed import PackedNet
from normbench.training.data import Part
from normbench.training.evaluate import (
    PlainEvaluator,
    batch_norms,
    evaluating,
)
from tests.models.packed.twins import ALEXNET, CNN, Twins, described, difference

MLP = {"name": "mlp", "width": 16}


def case(variant: str = "", steps: int = 3, **axes: Any) -> tuple[Twins, Part]:
    """Twins after some steps, and a part to evaluate."""
    shape = (3, 32, 32) if axes["model"] is ALEXNET else (1, 8, 8)
    twins = Twins(described(shape, **axes), 3, variant)
    for _ in range(steps):
        twins.step(0.01)
    generator = torch.Generator().manual_seed(5)
    x = torch.randn(24, *shape, generator=generator, dtype=torch.float64) + 0.3
    return twins, Part(x, torch.zeros(24, dtype=torch.int64))


@pytest.mark.parametrize("variant", ["im2col", "grouped,block=2"])
@pytest.mark.parametrize("position", ["pre", "post"])
@pytest.mark.parametrize(
    ("model", "norm"),
    [(MLP, "none"), (MLP, "batch"), (MLP, "layer"), (MLP, {"name": "batch", "affine": False}),
     (CNN, "batch"), (CNN, {"name": "layer", "affine": False}), (CNN, "group"), (CNN, "weight"),
     (CNN, {"name": "instance", "affine": False}), (CNN, {"name": "batch", "affine": False}),
     (MLP, "batch-renorm"), (CNN, "batch-renorm"), (CNN, {"name": "batch-renorm", "affine": False}),
     (MLP, "batch-frozen"), (CNN, "batch-frozen"), (CNN, {"name": "batch-frozen", "after": 1.0}),
     (CNN, "rms"), (CNN, "layer-channels"), (CNN, "dyt")],
    ids=str,
)  # fmt: skip
def test_logits_are_those_of_the_plain_module(
    model: Any, norm: Any, position: str, variant: str
) -> None:
    twins, part = case(variant, model=model, norm=norm, position=position)
    evaluator = twins.packed.evaluator(16)
    logits = evaluator.logits(part.x)
    batches = evaluator.logits(part.x, "batch", 4)
    assert evaluator.batch_statistics == bool(batch_norms(twins.plain[0]))
    for member, plain in enumerate(twins.plain):
        with evaluating(plain):
            assert difference(logits[member], plain(part.x)) < 1e-9
        with evaluating(plain, "batch", 4):
            assert difference(batches[member], plain(part.x)) < 1e-9


@pytest.mark.parametrize("norm", ["batch", "layer"])
def test_alexnet_drops_nothing_in_evaluation(norm: str) -> None:
    twins, part = case(model=ALEXNET, norm=norm, batch_size=4, steps=1)
    part = part.first(8)
    logits = twins.packed.evaluator(8).logits(part.x)
    for member, plain in enumerate(twins.plain):
        with evaluating(plain):
            assert difference(logits[member], plain(part.x)) < 1e-9


@pytest.mark.parametrize("model", [MLP, CNN])
@pytest.mark.parametrize("position", ["pre", "post"])
@pytest.mark.parametrize("norm", ["batch", "batch-renorm", "batch-frozen"])
def test_recomputed_statistics(model: Any, norm: str, position: str) -> None:
    twins, part = case("block=2", model=model, norm=norm, position=position)
    evaluator = twins.packed.evaluator(8)
    chunks = [x for x, _ in part.first(20).chunks(8)]
    evaluator.start_collecting()
    for x in chunks:
        evaluator.logits(x, "collect", 4)
    collected = evaluator.collected()
    with evaluator.recomputed(iter(chunks), 4):
        logits = evaluator.logits(part.x)
    for member, plain in enumerate(twins.plain):
        names = [
            n.removeprefix("parts.") for n, m in plain.named_modules() if m in batch_norms(plain)
        ]
        with PlainEvaluator(plain).recomputed([part.x[:20]], 4):
            for name in names:
                mean, variance = collected[name]
                assert difference(mean[member], plain.parts[name].running_mean) < 1e-9
                assert difference(variance[member], plain.parts[name].running_var) < 1e-9
            with evaluating(plain):
                assert difference(logits[member], plain(part.x)) < 1e-9
        with evaluating(plain):
            assert difference(evaluator.logits(part.x)[member], plain(part.x)) < 1e-9


@pytest.mark.parametrize("norm", ["batch", "group", "weight", "batch-renorm", "batch-frozen"])
def test_evaluating_in_between_changes_nothing(norm: str) -> None:
    twins, part = case(model=CNN, norm=norm, position="post", steps=0)
    undisturbed, _ = case(model=CNN, norm=norm, position="post", steps=0)
    evaluator = twins.packed.evaluator(8)
    kept = part.x.clone()
    for _ in range(3):
        before = [t.clone() for pair in twins.packed.running.values() for t in pair]
        evaluator.logits(part.x)
        evaluator.logits(part.x, "batch", 8)
        with evaluator.recomputed([part.x], 8):
            evaluator.logits(part.x)
        after = [t for pair in twins.packed.running.values() for t in pair]
        assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
        twins.step(0.01)
        undisturbed.step(0.01)
        assert torch.equal(twins.packed.flat, undisturbed.packed.flat)
    assert torch.equal(part.x, kept)


def test_an_evaluation_between_forward_and_the_update_leaves_the_gradients() -> None:
    twins, part = case(model=CNN, norm="weight", steps=1)
    kept = twins.packed.flat_gradient.clone()
    twins.packed.evaluator(8).logits(part.x)
    assert torch.equal(kept, twins.packed.flat_gradient)


def test_batches_that_are_not_whole_are_refused() -> None:
    twins, part = case(model=CNN, norm="batch")
    for batch in (0, 5):
        with pytest.raises(ValueError, match="whole batches"):
            twins.packed.evaluator(8).logits(part.x, "batch", batch)


def test_the_size_of_pieces_changes_only_rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    twins, part = case(model=CNN, norm="batch")
    whole = twins.packed.evaluator(24)
    pieces = copy.copy(whole)
    pieces.limit = 5
    for mode, batch in (("running", 0), ("batch", 4), ("batch", 8)):
        a, b = (e.logits(part.x, mode, batch) for e in (whole, pieces))  # type: ignore[arg-type]
        assert difference(a, b) < 1e-12


def test_ghost_batches_are_for_training_alone() -> None:
    twins, part = case(model=CNN, norm="batch", norm_batch_size=4)
    logits = twins.packed.evaluator(8).logits(part.x)
    for member, plain in enumerate(twins.plain):
        with evaluating(plain):
            assert difference(logits[member], plain(part.x)) < 1e-9
    assert isinstance(twins.packed, PackedNet)
