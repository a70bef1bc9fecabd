"""A packed net trains as its members do on their own: plain modules, autograd, float64."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from normbench.catalog import NORMS
from normbench.models.layers import (
    Conv,
    Dropout,
    Flatten,
    Layer,
    Linear,
    MaxPool,
    ReLU,
    Site,
    activated,
)
from tests.models.packed.twins import ALEXNET, CNN, assert_trained_alike, described

PACKED_NORMS = [name for name, entry in NORMS.items() if entry.packed]
MLP = {"name": "mlp", "width": 16}
PLAIN = {"affine": False}


def cases() -> list[tuple[Any, Any]]:
    """Every norm, with and without a scale, where it is defined."""
    found: list[tuple[Any, Any]] = [
        (model, norm)
        for model in (MLP, CNN)
        for norm in PACKED_NORMS
        if not (model is MLP and norm in ("group", "instance", "weight-standardized"))
    ]
    for model in (MLP, CNN):
        found += [
            (model, {"name": "batch", "momentum": 0.3, "eps": 1e-2, **PLAIN}),
            (model, {"name": "layer", "eps": 1e-2, **PLAIN}),
            (model, {"name": "group", "groups": 2, "eps": 1e-2, **PLAIN}),
            (model, {"name": "group", "groups": 1}),
        ]
        found += [(model, {"name": name, **PLAIN}) for name in ("rms", "layer-channels", "dyt")]
        found += [
            (model, {"name": "batch-renorm", "momentum": 0.3, "r_max": 1.2, "d_max": 0.1, **PLAIN}),
            (model, {"name": "batch-renorm", "plain": 0.0, "r_by": 0.0, "d_by": 0.0}),
            (model, {"name": "batch-frozen", "after": 0.2, "momentum": 0.3, **PLAIN}),
            (model, {"name": "batch-frozen", "after": 0.0}),
        ]
        found += [(model, {"name": "weight-standardized", "groups": n}) for n in (0, 1)]
    found += [(CNN, {"name": "weight-standardized", "groups": 4})]
    found += [(CNN, {"name": "group", "groups": 8}), (CNN, {"name": "instance", **PLAIN})]
    return found


@pytest.mark.parametrize("position", ["pre", "post"])
@pytest.mark.parametrize(("model", "norm"), cases(), ids=str)
def test_every_norm_trains_as_in_the_plain_module(model: Any, norm: Any, position: str) -> None:
    norm = {"name": norm} if isinstance(norm, str) else norm
    if position == "post" and "eps" in NORMS[norm["name"]].params:
        norm = {"eps": 1e-2} | norm  # few values are positive: 1/√ε blows rounding up
    assert_trained_alike(described(model=model, norm=norm, position=position, batch_size=8), 3, 30)


@pytest.mark.parametrize("members", [1, 8])
@pytest.mark.parametrize("norm", ["batch", "layer", "group", "instance", "weight"])
def test_any_number_of_members(norm: str, members: int) -> None:
    assert_trained_alike(described(model=CNN, norm=norm, batch_size=4), members, 15)


@pytest.mark.parametrize("position", ["pre", "post"])
@pytest.mark.parametrize("model", [MLP, CNN])
@pytest.mark.parametrize("affine", [True, False])
def test_ghost_batches(model: Any, affine: bool, position: str) -> None:
    norm = {"name": "batch", "affine": affine, "eps": 1e-2}
    axes = {"batch_size": 12, "norm_batch_size": 4}
    assert_trained_alike(described(model=model, norm=norm, position=position, **axes), 3, 30)


@pytest.mark.parametrize("model", [MLP, CNN])
@pytest.mark.parametrize("norm", ["batch-renorm", "batch-frozen"])
def test_ghost_batches_of_its_variants(model: Any, norm: str) -> None:
    assert_trained_alike(described(model=model, norm=norm, batch_size=12, norm_batch_size=4), 2, 6)


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("position", ["pre", "post"])
def test_batch_norm_of_vectors(position: str, affine: bool) -> None:
    norm = {"name": "batch", "eps": 1e-2, "affine": affine, "momentum": 0.3}
    net = described(model=MLP, norm=norm, position=position, batch_size=8)
    assert_trained_alike(net, 3, 20, "block=2")


@pytest.mark.parametrize("sites", ["first-two", ["conv2"], "fc"])
@pytest.mark.parametrize("norm", ["batch", "layer", "weight", "rms", "layer-channels", "dyt"])
def test_alexnet_with_norms_at_some_sites(norm: str, sites: Any) -> None:
    axes = {"model": ALEXNET, "norm": norm, "sites": sites, "batch_size": 4}
    assert_trained_alike(described((3, 32, 32), 3, **axes), 2, 2)


@pytest.mark.parametrize(
    ("norm", "position"),
    [("none", "pre"), ("batch", "pre"), ("layer", "pre"), ("group", "pre"), ("weight", "pre"),
     ("instance", "pre"), ("layer", "post"), ("group", "post"), ("batch", "post")],
)  # fmt: skip
def test_alexnet(norm: str, position: str) -> None:
    sites = ["conv1", "conv2", "conv3"] if norm == "instance" else "all"
    params = {"name": norm, "eps": 1e-2} if position == "post" else norm
    axes = {"model": ALEXNET, "norm": params, "sites": sites, "position": position, "batch_size": 4}
    assert_trained_alike(described((3, 32, 32), 3, **axes), 2, 4, rate=1e-3)


@pytest.mark.parametrize("norm", PACKED_NORMS)
def test_a_batch_of_one_or_two(norm: str) -> None:
    size = 2 if norm.startswith("batch") else 1
    assert_trained_alike(described(model=CNN, norm=norm, batch_size=size), 3, 10)


# -- layers and shapes beyond the catalogue's models -------------------------------------------

ODD: dict[str, list[Layer]] = {
    "strides and paddings": [
        *activated(Conv("a", 4, kernel=3, stride=2, padding=0)),
        *activated(Conv("b", 6, kernel=2, stride=1, padding=1)),
        *activated(Conv("c", 4, kernel=1)),
        *activated(Conv("d", 4, kernel=3, stride=2, padding=3)),
        *activated(Conv("e", 4, kernel=1, padding=1)),
        Flatten(),
        Linear("top", 3),
    ],
    "pools that overlap, and one before anything else": [
        MaxPool(2, 1),
        *activated(Conv("a", 4, kernel=3, padding=1)),
        MaxPool(3, 1),
        ReLU(),
        MaxPool(2, 2),
        *activated(Conv("b", 4, kernel=3, padding=2)),
        ReLU(),
        MaxPool(3, 2),
        Flatten(),
        *activated(Linear("c", 6)),
        Linear("top", 3),
    ],
    "dropout on images, at the start and in a row": [
        Dropout("first", 0.1),
        *activated(Conv("a", 4, kernel=3)),
        Dropout("second", 0.3),
        Dropout("never", 0.0),
        *activated(Conv("b", 6, kernel=3)),
        Dropout("third", 0.2),
        Flatten(),
        Dropout("fourth", 0.2),
        ReLU(),
        *activated(Linear("c", 6)),
        Dropout("fifth", 0.5),
        Linear("top", 3),
    ],
    "a norm first, and behind the flattening": [
        Site("start", "pre"),
        ReLU(),
        Conv("a", 4, kernel=3),
        Flatten(),
        Site("flat", "pre"),
        ReLU(),
        Linear("top", 3),
    ],
    "the activation first": [ReLU(), *activated(Conv("a", 4, kernel=5)), Flatten(),
                             Linear("top", 3)],
    "convolutions that keep the size, in a row": [
        *activated(Conv("a", 4, kernel=3, padding=1)),
        Conv("b", 6, kernel=5, padding=2),
        Conv("c", 5, kernel=3, padding=1),
        MaxPool(3, 2),
        *activated(Conv("d", 4, kernel=3, padding=1)),
        Flatten(),
        Site("flat", "pre"),
        Linear("top", 3),
    ],
    "a convolution that gives the logits": [
        *activated(Conv("a", 4, kernel=3)),
        Conv("top", 3, kernel=3),
        MaxPool(3, 3),
        Flatten(),
    ],
    "a norm and an activation that give the logits": [
        Flatten(),
        *activated(Linear("a", 6)),
        Linear("b", 4),
        Site("b", "pre"),
        ReLU(),
    ],
}  # fmt: skip


@pytest.mark.parametrize("variant", ["im2col", "grouped", "a=grouped,block=2", "b=grouped"])
@pytest.mark.parametrize("norm", ["batch", {"name": "group", "groups": 2}, "weight"])
@pytest.mark.parametrize("layers", ODD)
def test_any_list_of_layers(layers: str, norm: Any, variant: str) -> None:
    shape = (2, 7, 7) if layers.startswith("a convolution") else (2, 9, 7)
    net = described(norm=norm, batch_size=4)
    names = frozenset(x.name for x in ODD[layers] if isinstance(x, Site))
    weights = {x.name for x in ODD[layers] if isinstance(x, Conv | Linear)}
    sites = names & weights if norm == "weight" else names
    net = replace(net, layers=tuple(ODD[layers]), shape=shape, sites=sites)
    assert_trained_alike(net, 3, 3, variant)


@pytest.mark.parametrize("norm", ["batch-renorm", "batch-frozen", "layer-channels", "rms", "dyt"])
@pytest.mark.parametrize("layers", ODD)
def test_any_list_with_the_further_norms(layers: str, norm: str) -> None:
    shape = (2, 7, 7) if layers.startswith("a convolution") else (2, 9, 7)
    names = frozenset(x.name for x in ODD[layers] if isinstance(x, Site))
    net = described(norm=norm, batch_size=4)
    assert_trained_alike(replace(net, layers=tuple(ODD[layers]), shape=shape, sites=names), 2, 3)


@pytest.mark.parametrize("norm", ["batch", "layer", "weight"])
def test_inputs_that_are_vectors(norm: str) -> None:
    layers = (*activated(Linear("a", 6)), Dropout("d", 0.4), Linear("top", 3))
    net = described(norm=norm, batch_size=4)
    assert_trained_alike(replace(net, layers=layers, shape=(5,), sites=frozenset({"a"})), 3, 10)


@pytest.mark.parametrize("norm", ["none", "batch", "group"])
@pytest.mark.parametrize(
    "variant",
    ["im2col", "grouped", "block=1", "im2col,block=3", "grouped,block=3", "conv1=grouped",
     "conv2=grouped", "conv1=grouped,conv2=grouped,block=3"],
)  # fmt: skip
def test_all_formulations_agree(variant: str, norm: str) -> None:
    assert_trained_alike(described(model=CNN, norm=norm, batch_size=8), 4, 5, variant)
