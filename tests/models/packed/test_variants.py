"""Formulations: their names, which are tried, what is refused, and what memory is taken."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest
from torch import nn

from normbench.catalog import NORMS, Entry, Param
from normbench.errors import UndefinedError, UsageError
from normbench.models.describe import NormSpec
from normbench.models.layers import Conv, Flatten, Linear, MaxPool
from normbench.models.packed import PackedNet, UnsupportedError, memory, variants
from normbench.models.packed.formulation import Formulation, parse
from tests.models.packed.twins import ALEXNET, CNN, assert_trained_alike, described


def test_names_are_read() -> None:
    assert parse("") == Formulation()
    assert parse("").way_of("conv1") == "im2col"
    assert parse("grouped").way_of("conv1") == "grouped"
    some = parse("block=4,conv1=grouped,im2col")
    assert (some.block, some.way_of("conv1"), some.way_of("conv2")) == (4, "grouped", "im2col")


@pytest.mark.parametrize("name", ["fast", "rows,im/fold/im", "conv1=mk", "block=many", "wg4"])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match="formulation is im2col or grouped"):
        parse(name)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize(
    ("model", "shape"),
    [({"name": "mlp", "width": 8}, (1, 8, 8)), (CNN, (1, 8, 8)), (ALEXNET, (3, 32, 32)),
     (ALEXNET, (3, 64, 64)), ({"name": "alexnet", "width": 0.25}, (3, 224, 224))],
)  # fmt: skip
def test_a_few_are_tried(model: Any, shape: tuple[int, ...], device: str) -> None:
    net = described(shape, model=model, norm="batch")
    names = variants(net, device)
    assert 1 <= len(names) <= 4
    assert len(set(names)) == len(names)
    for name in names:
        parse(name)


@pytest.mark.parametrize("batch_size", [2, 8, 32])
@pytest.mark.parametrize("model", [ALEXNET, CNN])
def test_those_that_are_tried_agree(model: Any, batch_size: int) -> None:
    shape = (3, 32, 32) if model is ALEXNET else (1, 8, 8)
    net = described(shape, 2, model=model, norm="layer", batch_size=batch_size)
    for name in variants(net, "cpu"):
        assert_trained_alike(net, 2, 2, name)


@pytest.mark.parametrize("members", [1, 5])
def test_the_memory_is_at_least_what_is_held(members: int) -> None:
    for norm in ("batch", "layer", "weight"):
        net = described(model=CNN, norm=norm)
        packed = PackedNet(net, members)
        assert packed.bytes <= memory(net, members) < 4 * packed.bytes
        assert memory(net, members) < memory(net, members + 3)


# -- where the plain loop is needed ------------------------------------------------------------


def foreign(shape: tuple[int, ...], gain: float) -> nn.Module:
    del gain
    return nn.LayerNorm(shape)


def test_a_norm_of_another_package_needs_the_plain_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = Entry(f"{__name__}:foreign", "a test", {"gain": Param(1.0, "nothing")})
    monkeypatch.setitem(NORMS._entries, "foreign", entry)
    net = described(norm="none")
    net = replace(net, norm=NormSpec("foreign", {"gain": 1.0}, 8))
    with pytest.raises(UnsupportedError, match="the norm foreign has a plain form only"):
        PackedNet(net, 2)


def test_unknown_parameters_and_layers_need_the_plain_loop() -> None:
    @dataclass(frozen=True)
    class Swish:
        pass

    net = described(norm="layer")
    odd = replace(net, norm=replace(net.norm, params={"eps": 1e-5, "bias": True}))
    with pytest.raises(UnsupportedError, match="layer norm has no parameter bias"):
        PackedNet(odd, 2)
    flat = (Flatten(), Linear("top", 3))
    for layers, said in (
        ((Swish(), *flat), "has a plain form only"),
        ((Linear("a", 4), *flat), "flatten before it"),
        ((Flatten(), Conv("c", 4, 3)), "takes images"),
        ((Flatten(), MaxPool(2, 2)), "takes images"),
    ):
        with pytest.raises(UnsupportedError, match=said):
            PackedNet(replace(net, layers=layers), 2)  # type: ignore[arg-type]
    with pytest.raises(UnsupportedError, match="neither vectors nor images"):
        PackedNet(replace(net, shape=(8, 8)), 2)


def test_what_is_undefined_for_the_plain_module_is_undefined_here() -> None:
    with pytest.raises(UndefinedError, match="batch norm needs at least two values"):
        PackedNet(described(norm="batch", batch_size=1), 2)
