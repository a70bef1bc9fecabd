"""The residual net: its shapes and parameters by hand, against torch written out, and its sites."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from normbench.errors import UsageError
from normbench.models.describe import network, select_sites
from normbench.models.layers import Conv, Linear, ReLU, Residual, Site, flat, site_names
from normbench.models.packed import PackedNet, UnsupportedError, variants
from normbench.models.plain import Net, build, initialise
from normbench.models.resnet import layers
from normbench.norms.weight import WeightNormed
from tests.builders import cell

WIDE = {"width": 8, "blocks": 1, "zero_init": False}


def net(
    shape: tuple[int, ...] = (1, 8, 8), device: str = "cpu", width: int = 8, blocks: int = 1,
    zero_init: bool = False, **axes: Any,
) -> Net:  # fmt: skip
    model = {"name": "resnet", "width": width, "blocks": blocks, "zero_init": zero_init}
    one = cell(model=model, **axes)
    made = build(network(one, shape, 10), device)
    if device != "meta":
        initialise(made, 0, "torch")
    return made


def count(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def convolutions(width: int, channels: int) -> int:
    """Weights and biases of the net with one block a stage, by hand."""
    w = width
    first = 9 * channels * w + w
    one = 2 * (9 * w * w + w)
    two = 9 * w * 2 * w + 2 * w + 9 * 4 * w * w + 2 * w + 2 * w * w + 2 * w
    three = 9 * 2 * w * 4 * w + 4 * w + 9 * 16 * w * w + 4 * w + 8 * w * w + 4 * w
    return first + one + two + three + 4 * w * 10 + 10


@pytest.mark.parametrize("width", [4, 16])
def test_the_number_of_parameters_by_hand(width: int) -> None:
    assert count(net(width=width, norm="none")) == convolutions(width, 1)
    # conv1 and block 1 have width channels, block 2 with its shortcut twice and block 3 four times
    normed = width * (1 + 2) + 3 * 2 * width + 3 * 4 * width
    assert count(net(width=width, norm="batch")) == convolutions(width, 1) + 2 * normed
    assert sum(b.numel() for b in net(width=width, norm="batch").buffers()) == 2 * normed
    assert count(net(width=width, norm="weight")) == convolutions(width, 1) + normed


@pytest.mark.parametrize(("pixels", "last"), [(8, 2), (32, 8), (64, 8)])
def test_the_maps_of_the_last_stage(pixels: int, last: int) -> None:
    model = net((3, pixels, pixels), norm="none")
    seen: list[torch.Size] = []
    model.parts["block3_conv2"].register_forward_hook(lambda m, x, y: seen.append(y.shape))
    assert model(torch.rand(2, 3, pixels, pixels)).shape == (2, 10)
    assert seen == [(2, 32, last, last)]


def test_smaller_images_are_refused() -> None:
    with pytest.raises(UsageError, match="at least 8 pixels; received"):
        net((1, 4, 4), norm="none")


def by_hand(state: dict[str, Tensor], x: Tensor, blocks: int) -> Tensor:
    """The net written out with torch's functions, with layer norms over whole samples."""

    def conv(x: Tensor, name: str, stride: int = 1, padding: int = 1) -> Tensor:
        y = functional.conv2d(x, state[f"{name}.weight"], state[f"{name}.bias"], stride, padding)
        return functional.layer_norm(y, y.shape[1:])

    x = conv(x, "conv1").relu()
    for i in range(3 * blocks):
        name, stride = f"block{i + 1}", 2 if i and i % blocks == 0 else 1
        y = conv(x, f"{name}_conv1", stride).relu()
        y = conv(y, f"{name}_conv2")
        if f"{name}_shortcut.weight" in state:
            x = conv(x, f"{name}_shortcut", stride, 0)
        x = (x + y).relu()
    return functional.linear(x.mean((2, 3)), state["classifier.weight"], state["classifier.bias"])


@pytest.mark.parametrize("blocks", [1, 2])
def test_it_computes_what_it_says(blocks: int) -> None:
    model = net(blocks=blocks, norm="layer").double()
    state = {k.removeprefix("parts."): v for k, v in model.state_dict().items()}
    x = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(0)).double()
    assert torch.allclose(model(x), by_hand(state, x, blocks), rtol=0, atol=1e-10)
    shortcuts = [k.split("_")[0] for k in state if k.endswith("_shortcut.weight")]
    assert shortcuts == [f"block{blocks + 1}", f"block{2 * blocks + 1}"]


def test_layers_with_weights_are_reached_by_name_and_start_paired() -> None:
    """Flat names, whatever block a layer stands in; the same weights under every norm."""
    base = net(norm="none")
    names = ["conv1", "block1_conv1", "block1_conv2", "block2_conv1", "block2_conv2",
             "block2_shortcut", "block3_conv1", "block3_conv2", "block3_shortcut",
             "classifier"]  # fmt: skip
    weighted = [n for n, m in base.parts.items() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert weighted == names
    shared = dict(base.named_parameters())
    for norm in ("batch", "group", "batch-renorm"):
        others = dict(net(norm=norm).named_parameters())
        assert all(torch.equal(others[name], value) for name, value in shared.items())
    wrapped = net(norm="weight")
    assert isinstance(wrapped.parts["block2_shortcut"], WeightNormed)
    assert torch.equal(wrapped.parts["block2_shortcut"].v, base.parts["block2_shortcut"].weight)


def test_a_deeper_net_starts_with_the_same_first_layers() -> None:
    one, two = net(blocks=1, norm="none"), net(blocks=2, norm="none")
    for name in ("conv1", "block1_conv1", "block1_conv2", "classifier"):
        assert torch.equal(one.parts[name].weight, two.parts[name].weight)


# -- sites -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sites", "found"),
    [
        ("first-two", ["conv1", "block1_conv1"]),
        (["block3_shortcut", "conv1"], ["conv1", "block3_shortcut"]),
    ],
)
@pytest.mark.parametrize("position", ["pre", "post"])
def test_the_norm_stands_at_the_sites_asked_for(
    sites: Any, found: list[str], position: str
) -> None:
    model = net(sites=sites, norm="batch", position=position)
    assert [n.removesuffix("_norm") for n in model.parts if n.endswith("_norm")] == found


@pytest.mark.parametrize("position", ["pre", "post"])
def test_every_convolution_is_a_site_in_both_positions(position: str) -> None:
    model = net(norm="batch", position=position)
    convs = {n for n, m in model.parts.items() if isinstance(m, nn.Conv2d)}
    assert {n.removesuffix("_norm") for n in model.parts if n.endswith("_norm")} == convs
    assert model(torch.rand(4, 1, 8, 8)).isfinite().all()


def test_after_the_addition_in_position_post() -> None:
    model = net(norm="layer", position="post", sites=["block1_conv2"])
    seen: list[Tensor] = []
    model.parts["block1_conv2_norm"].register_forward_hook(lambda m, x, y: seen.append(x[0]))
    model.parts["block1_conv2"].register_forward_hook(lambda m, x, y: seen.append(y))
    stem: list[Tensor] = []
    model.parts["block1_conv1"].register_forward_hook(lambda m, x, y: stem.append(x[0]))
    model(torch.rand(2, 1, 8, 8))
    convolved, normed = seen
    assert torch.equal(normed, (stem[0] + convolved).relu())


def test_fully_connected_sites_are_none_of_its() -> None:
    with pytest.raises(UsageError, match="hidden linear layers; this one has the sites conv1"):
        select_sites("fc", layers((1, 8, 8), 10, **WIDE))


@pytest.mark.parametrize("norm", ["batch", "layer", "group", "rms", "dyt"])
def test_with_zero_init_a_block_starts_as_its_shortcut(norm: str) -> None:
    model = net(zero_init=True, norm=norm)
    zero = [n for n, m in model.parts.items() if n.endswith("_norm") and not m.weight.any()]
    assert zero == [f"block{i}_conv2_norm" for i in (1, 2, 3)]
    x = torch.rand(2, 1, 8, 8)
    seen: dict[str, Tensor] = {}
    for name in ("block1_conv1", "block2_conv1"):
        model.parts[name].register_forward_hook(
            lambda m, x, y, name=name: seen.__setitem__(name, x[0])
        )
    model(x)
    assert torch.allclose(seen["block1_conv1"], seen["block2_conv1"], atol=1e-6)


@pytest.mark.parametrize("norm", ["none", "weight", {"name": "batch", "affine": False}, "lrn"])
def test_zero_init_leaves_norms_without_a_scale_alone(norm: Any) -> None:
    on, off = net(zero_init=True, norm=norm), net(zero_init=False, norm=norm)
    x = torch.rand(4, 1, 8, 8)
    assert torch.equal(on(x), off(x))
    assert torch.equal(net(zero_init=True, norm="batch", position="post")(x),
                       net(norm="batch", position="post")(x))  # fmt: skip


# -- blocks in general -------------------------------------------------------------------------


def test_layers_of_blocks_are_found() -> None:
    one, two = Conv("a", 4, 3, padding=1), Conv("b", 4, 1)
    inner = Residual("in", (two, Site("b", "pre")))
    nested = [Residual("out", (one, inner), (Site("c", "pre"),)), Linear("top", 2)]
    assert list(flat(nested)) == [one, two, Site("b", "pre"), Site("c", "pre"), nested[1]]
    assert site_names(nested) == ["b", "c"]


def test_nested_blocks_add_up() -> None:
    inner = Residual("in", (Conv("a", 2, 1),))
    base = network(cell(norm="none"), (2, 3, 3), 10)
    made = replace(base, layers=(Residual("out", (inner, ReLU())),), sites=frozenset())
    model = build(made)
    initialise(model, 0, "torch")
    x = torch.randn(4, 2, 3, 3)
    assert torch.allclose(model(x), x + (x + model.parts["a"](x)).relu())
    twin = copy.deepcopy(model)
    assert torch.equal(twin(x), model(x))


def test_a_shortcut_of_another_shape_is_a_fault_of_the_model() -> None:
    base = network(cell(norm="none"), (2, 3, 3), 10)
    odd = replace(base, layers=(Residual("odd", (Conv("a", 5, 1),)),), sites=frozenset())
    with pytest.raises(ValueError, match="the block odd adds batches of shapes"):
        build(odd, "meta")


def test_names_must_differ_in_the_whole_model() -> None:
    base = network(cell(norm="none"), (2, 3, 3), 10)
    block = Residual("one", (Conv("a", 2, 1),))
    twice = replace(base, layers=(block, block), sites=frozenset())
    with pytest.raises(ValueError, match="two layers of the model are named 'a'"):
        build(twice)


def test_undefined_sites_within_blocks_are_named() -> None:
    model = net((1, 8, 8), "meta", norm="instance")
    assert all(p.is_meta for p in model.parameters())
    with pytest.raises(UsageError, match=r"at site block1_conv1: .*3 groups do not divide 8"):
        net(norm={"name": "group", "groups": 3}, sites=["block1_conv1"], device="meta")


def test_it_needs_the_plain_loop() -> None:
    one = network(cell(model={"name": "resnet", "width": 8}), (1, 8, 8), 10)
    with pytest.raises(UnsupportedError, match="the residual block block1 has a plain form only"):
        PackedNet(one, 2)
    with pytest.raises(UnsupportedError):
        variants(one, "cpu")
