"""Members are apart: loading and storing, masks, norms, and what a NaN reaches."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from normbench.catalog import NORMS
from normbench.models.dropout import StreamDropout
from normbench.models.layers import Dropout, Flatten, Linear
from normbench.models.packed import PackedNet
from normbench.models.plain import build
from normbench.training.optimizers import decay_mask
from tests.models.packed.twins import ALEXNET, CNN, Twins, described, started

NAMES = [name for name, entry in NORMS.items() if entry.packed]


@pytest.mark.parametrize("norm", NAMES)
def test_loading_and_storing_is_a_round_trip(norm: str) -> None:
    net = described(model=CNN, norm=norm)
    twins = Twins(net, 3)
    for member, plain in enumerate(twins.plain):
        for (name, mine), theirs in zip(
            twins.stored(member).state_dict().items(), plain.state_dict().values(), strict=True
        ):
            assert torch.equal(mine, theirs), name


@pytest.mark.parametrize("norm", NAMES)
@pytest.mark.parametrize("affine", [True, False])
def test_decayed_parameters_lie_in_front(norm: str, affine: bool) -> None:
    params = {"affine": affine} if "affine" in NORMS[norm].params else {}
    net = described(model=CNN, norm={"name": norm, **params})
    plain = started(build(net), 0)
    mask = decay_mask(plain)
    sizes = [p.numel() for p in plain.parameters()]
    packed = PackedNet(net, 4)
    assert packed.decayed == 4 * sum(n for n, on in zip(sizes, mask, strict=True) if on)
    assert len(packed.flat) == len(packed.flat_gradient) == 4 * sum(sizes)
    marked = build(net)
    for parameter, on in zip(marked.parameters(), mask, strict=True):
        parameter.data.fill_(float(on))
    packed.load(2, marked)
    assert packed.flat[: packed.decayed].sum() == packed.decayed / 4
    assert not packed.flat[packed.decayed :].any()


def test_a_value_per_member_and_the_norms_of_members() -> None:
    twins = Twins(described(model=CNN, norm="layer"), 3)
    norms = twins.packed.member_norms(twins.packed.flat)
    for member, plain in enumerate(twins.plain):
        wanted = torch.cat([p.detach().flatten() for p in plain.parameters()]).norm()
        assert torch.allclose(norms[member], wanted, rtol=1e-12)
    twins.packed.flat.mul_(twins.packed.per_member(torch.tensor([0.0, 1.0, 2.0]).double()))
    found = twins.packed.member_norms(twins.packed.flat)
    assert torch.allclose(found, norms * torch.tensor([0.0, 1.0, 2.0]).double(), rtol=1e-12)
    twins.packed.flat.mul_(twins.packed.per_member(torch.tensor([1.0, torch.nan, 1.0]).double()))
    found[1] = torch.nan
    assert torch.equal(
        twins.packed.member_norms(twins.packed.flat).nan_to_num(7), found.nan_to_num(7)
    )


def dropping(members: int, block: str = "") -> PackedNet:
    layers = (Flatten(), Dropout("drop", 0.25), Linear("top", 10))
    net = replace(described(norm="none"), layers=layers, sites=frozenset())
    return PackedNet(net, members, variant=block)


@pytest.mark.parametrize("block", ["", "block=2"])
def test_masks_are_those_of_the_plain_module(block: str) -> None:
    packed = dropping(3, block)
    for member in range(3):
        packed.seed_dropout(member, 10 + member)
    made = [operation for _, operations in packed.blocks for operation in operations]
    drops = [operation for operation in made if hasattr(operation, "mask")]
    plain = [StreamDropout("drop", 0.25) for _ in range(3)]
    for member, module in enumerate(plain):
        module.seed(10 + member, torch.device("cpu"))
    x = torch.rand(3, 8, 64) + 1
    for _ in range(3):
        parts = x.split(2) if block else (x,)
        found = torch.cat([drop.forward(part) for drop, part in zip(drops, parts, strict=True)])
        for member, module in enumerate(plain):
            wanted = module(x[member])
            assert torch.equal(found[member] == 0, wanted == 0)
            assert torch.allclose(found[member], wanted, rtol=1e-6)


@pytest.mark.parametrize("norm", NAMES)
@pytest.mark.parametrize(
    "variant", ["", "grouped", "im2col,block=2", "grouped,block=3", "conv1=grouped,block=1"]
)
def test_a_nan_stays_in_its_member(norm: str, variant: str) -> None:
    """The others are the same bits with a healthy member in its place."""
    results = []
    for broken in (False, True):
        twins = Twins(described(model=CNN, norm=norm), 4, variant)
        packed = twins.packed
        for step in range(4):
            if broken and step == 1:
                value = torch.tensor([0.0, torch.nan, 0.0, 0.0]).double()
                packed.flat.add_(packed.per_member(value))
            x, y = twins.batch()
            packed.train_batch(packed.arrange(x), y)
            packed.flat.sub_(packed.flat_gradient, alpha=0.1)
        logits = packed.evaluator(5).logits(x[:5])
        stored = [twins.stored(member).state_dict() for member in range(4)]
        results.append((logits, stored))
    for member in (0, 2, 3):
        assert torch.equal(results[0][0][member], results[1][0][member])
        for healthy, beside in zip(
            results[0][1][member].values(), results[1][1][member].values(), strict=True
        ):
            assert torch.equal(healthy, beside)
    assert results[1][0][1].isnan().all()


@pytest.mark.parametrize("axes", [{"model": CNN, "norm": "batch"}, {"model": CNN, "norm": "group"}])
def test_a_member_trains_the_same_whoever_is_beside_it(axes: Any) -> None:
    """In float32, up to rounding: the width changes no more than the order of sums."""
    net = described(**axes)
    few, many = PackedNet(net, 1), PackedNet(net, 6)
    plain = build(net)
    for tensor in plain.state_dict().values():
        tensor.copy_(torch.linspace(-0.3, 0.4, max(1, tensor.numel())).view(tensor.shape).abs())
    few.load(0, plain)
    for member in range(6):
        many.load(member, plain)
    generator = torch.Generator().manual_seed(3)
    for _ in range(5):
        x = torch.randn(8, 1, 8, 8, generator=generator)
        y = torch.randint(10, (1, 8), generator=generator)
        one, _ = few.train_batch(few.arrange(x), y)
        all_of_them, _ = many.train_batch(many.arrange(x.repeat(6, 1, 1, 1)), y.repeat(6, 1))
        assert torch.allclose(all_of_them, one.expand(6), rtol=1e-4)
        for packed in (few, many):
            packed.flat.sub_(packed.flat_gradient, alpha=0.05)


@pytest.mark.parametrize("variant", ["", "grouped"])
@pytest.mark.parametrize("model", [CNN, {"name": "mlp", "width": 8}])
def test_a_batch_from_resident_data_is_as_good_as_an_arranged_one(model: Any, variant: str) -> None:
    twins = Twins(described(norm="batch", model=model), 2, variant)
    packed = twins.packed
    x = torch.randn(30, 1, 8, 8, dtype=torch.float64)
    y = torch.randint(10, (2, 8))
    index = torch.randint(30, (16,))
    found = [packed.train_items(packed.resident(x), index, y)[1]]
    found.append(packed.train_batch(packed.arrange(x[index]), y)[1])
    assert torch.allclose(found[0], found[1], atol=1e-12)


def test_the_data_are_left_alone() -> None:
    layers = described(norm="batch", model=CNN).layers
    for first in ((), (Dropout("d", 0.5),)):
        net = replace(described(norm="batch", model=CNN), layers=(*first, *layers))
        packed = PackedNet(net, 2)
        x = torch.randn(16, 1, 8, 8)
        kept = x.clone()
        inputs = packed.arrange(x)
        before = inputs.clone()
        packed.train_batch(inputs, torch.zeros(2, 8, dtype=torch.int64))
        packed.evaluator(4).logits(x)
        assert torch.equal(x, kept)
        assert torch.equal(inputs, before)


def test_logits_outlive_the_next_step() -> None:
    twins = Twins(described((3, 32, 32), model=ALEXNET, norm="batch", batch_size=2), 2)
    x, y = twins.batch()
    losses, logits = twins.packed.train_batch(twins.packed.arrange(x), y)
    kept = losses.clone(), logits.clone()
    x, y = twins.batch()
    twins.packed.train_batch(twins.packed.arrange(x), y)
    assert torch.equal(losses, kept[0])
    assert torch.equal(logits, kept[1])


def test_building_and_training_leave_the_global_generator_and_settings_alone() -> None:
    x = torch.rand(16, 1, 8, 8)
    before = torch.get_rng_state()
    onednn = torch.backends.mkldnn.enabled
    packed = dropping(2)
    packed.train_batch(packed.arrange(x), torch.zeros(2, 8).long())
    assert torch.equal(before, torch.get_rng_state())
    assert torch.backends.mkldnn.enabled == onednn
