"""The plain builder: parameters by hand, paired initial weights, undefined shapes."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from normbench.catalog import NORMS
from normbench.errors import UndefinedError, UsageError
from normbench.models.describe import network, select_sites
from normbench.models.dropout import StreamDropout
from normbench.models.layers import Conv, Dropout, Flatten, Linear, activated, site_names
from normbench.models.plain import Net, build, initialise
from tests.builders import cell

DIGITS = ((1, 8, 8), 10)
CNN = {"name": "small-cnn", "width": 16}


def built(seed: int | None = 0, device: str = "cpu", **axes: Any) -> Net:
    one = cell(**axes)
    model = build(network(one, *DIGITS), device)
    if seed is not None:
        initialise(model, seed, one.init)
    return model


def count(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize(
    ("model", "norm", "parameters", "buffers"),
    [
        # 64·64+64 twice, 64·10+10; a norm has a scale and a shift per unit
        ("mlp", "none", 8970, 0),
        ("mlp", "batch", 8970 + 2 * 2 * 64, 2 * 2 * 64),
        ("mlp", "layer", 8970 + 2 * 2 * 64, 0),
        ("mlp", "group", 8970 + 2 * 2 * 64, 0),
        ({"name": "mlp", "width": 16, "depth": 3}, "none", 1040 + 272 + 272 + 170, 0),
        # 16·1·9+16, 32·16·9+32, 128·10+10; maps of 16×8×8 and 32×4×4
        (CNN, "none", 160 + 4640 + 1290, 0),
        (CNN, "batch", 6090 + 2 * (16 + 32), 2 * (16 + 32)),
        (CNN, "layer", 6090 + 2 * (16 * 64 + 32 * 16), 0),
        (CNN, "group", 6090 + 2 * (16 + 32), 0),
        (CNN, "instance", 6090 + 2 * (16 + 32), 0),
    ],
)
def test_the_number_of_parameters_by_hand(
    model: Any, norm: str, parameters: int, buffers: int
) -> None:
    net = built(model=model, norm=norm)
    assert count(net) == parameters
    assert sum(b.numel() for b in net.buffers()) == buffers


@pytest.mark.parametrize("model", ["mlp", CNN])
@pytest.mark.parametrize("norm", ["none", "batch", "layer", "group"])
@pytest.mark.parametrize("position", ["pre", "post"])
def test_outputs_have_a_value_per_class(model: Any, norm: str, position: str) -> None:
    net = built(model=model, norm=norm, position=position)
    y = net(torch.rand(4, 1, 8, 8))
    assert y.shape == (4, 10)
    assert y.isfinite().all()


@pytest.mark.parametrize("init", ["torch", "he"])
@pytest.mark.parametrize("model", ["mlp", CNN])
def test_shared_layers_start_equal_whatever_else_differs(model: Any, init: str) -> None:
    base = built(model=model, norm="none", init=init)
    shared = dict(base.named_parameters())
    others = [{"norm": norm} for norm in ("batch", "layer", "group")]
    others += [{"norm": "batch", "position": "post"}, {"norm": "batch", "sites": "first-two"}]
    others += [{"norm": "none", "batch_size": 2, "learning_rate": 1, "epochs": 9}]
    others += [{"norm": "none", "optimizer": {"name": "sgd", "momentum": 0}, "split_seed": 4}]
    for axes in others:
        net = dict(built(model=model, init=init, **axes).named_parameters())
        assert set(shared) <= set(net)
        for name, value in shared.items():
            assert torch.equal(net[name], value), (axes, name)


def test_a_layer_keeps_its_weights_when_layers_are_added_before_or_after_it() -> None:
    two = dict(built(model={"name": "mlp", "width": 16, "depth": 2}).named_parameters())
    four = dict(built(model={"name": "mlp", "width": 16, "depth": 4}).named_parameters())
    for name in ("parts.fc1.weight", "parts.fc2.weight", "parts.classifier.bias"):
        assert torch.equal(two[name], four[name])


def test_seeds_give_different_weights_and_repeat() -> None:
    one, again, other = built(seed=1), built(seed=1), built(seed=2)
    for (name, a), b, c in zip(
        one.named_parameters(), again.parameters(), other.parameters(), strict=True
    ):
        assert torch.equal(a, b)
        assert torch.equal(a, c) == ("norm" in name), name


@pytest.mark.parametrize("model", ["mlp", CNN])
def test_building_and_initialising_leave_the_global_generator_alone(model: Any) -> None:
    before = torch.get_rng_state()
    for norm in ("none", "batch", "layer"):
        built(model=model, norm=norm)
    assert torch.equal(before, torch.get_rng_state())


def test_every_weight_is_set() -> None:
    for norm in NORMS.complete:
        one = cell(model=CNN, norm=norm)
        model = build(network(one, *DIGITS))
        with torch.no_grad():
            for module in model.modules():
                if isinstance(module, nn.Conv2d | nn.Linear):
                    module.weight.fill_(math.nan)
                    module.bias.fill_(math.nan)
        initialise(model, 0, "torch")
        assert all(p.isfinite().all() for p in model.parameters()), norm


@pytest.mark.parametrize(("layer", "fan_in"), [("fc1", 64), ("fc2", 400), ("classifier", 400)])
def test_initial_weights_follow_their_law(layer: str, fan_in: int) -> None:
    model = {"name": "mlp", "width": 400}
    torch_init = built(model=model, init="torch").parts[layer]
    he = built(model=model, init="he").parts[layer]
    bound = 1 / math.sqrt(fan_in)
    weight = torch_init.weight.detach()
    assert weight.abs().max() <= bound
    assert weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.03)
    assert torch_init.bias.detach().abs().max() <= bound
    assert torch_init.bias.detach().std() > bound / 4
    weight = he.weight.detach()
    assert weight.std().item() == pytest.approx(math.sqrt(2 / fan_in), rel=0.03)
    assert weight.abs().max() > 2.5 * math.sqrt(2 / fan_in)
    assert not he.bias.detach().any()


def test_torchs_law_is_that_of_torch() -> None:
    """The declared bound is what torch's own layers use."""
    torch.manual_seed(0)
    theirs = nn.Conv2d(16, 200, 3)
    assert theirs.weight.detach().abs().max().item() == pytest.approx(1 / 12, rel=1e-3)
    ours = built(model={"name": "small-cnn", "width": 16}).parts["conv2"]
    assert ours.weight.detach().abs().max().item() == pytest.approx(1 / 12, rel=2e-3)


def test_the_mlp_computes_what_it_says() -> None:
    net = built(norm="layer", model={"name": "mlp", "width": 16})
    state = {k.removeprefix("parts."): v for k, v in net.state_dict().items()}
    x = torch.rand(3, 1, 8, 8)
    h = x.reshape(3, 64)
    for i in (1, 2):
        h = h @ state[f"fc{i}.weight"].T + state[f"fc{i}.bias"]
        h = (h - h.mean(1, keepdim=True)) / (h.var(1, correction=0, keepdim=True) + 1e-5).sqrt()
        h = h.clamp_min(0)
    wanted = h @ state["classifier.weight"].T + state["classifier.bias"]
    assert torch.allclose(net(x), wanted, atol=1e-5)


def test_the_position_is_before_or_after_the_activation() -> None:
    order = {p: list(built(position=p).parts) for p in ("pre", "post")}
    relu = {p: next(n for n in names if n.startswith("relu")) for p, names in order.items()}
    assert order["pre"].index("fc1_norm") < order["pre"].index(relu["pre"])
    assert order["post"].index("fc1_norm") > order["post"].index(relu["post"])


@pytest.mark.parametrize(
    ("sites", "found"),
    [
        ("all", ["fc1", "fc2", "fc3"]),
        ("first-two", ["fc1", "fc2"]),
        (["fc3", "fc1"], ["fc1", "fc3"]),
    ],
)
def test_the_norm_stands_at_the_sites_asked_for(sites: Any, found: list[str]) -> None:
    net = built(model={"name": "mlp", "width": 16, "depth": 3}, sites=sites)
    assert [n.removesuffix("_norm") for n in net.parts if n.endswith("_norm")] == found


def test_an_unknown_site_is_named() -> None:
    with pytest.raises(UsageError, match=r"no site 'fc9'; did you mean 'fc\d'\? \(sites: fc1, fc2"):
        built(sites=["fc1", "fc9"])
    one = activated(Linear("a", 3))
    assert select_sites("all", one) == select_sites("first-two", one) == {"a"}


def test_the_hidden_linear_layers_are_sites_together() -> None:
    alexnet = [*activated(Conv("conv1", 4, 3)), *activated(Linear("fc1", 9)), Linear("top", 2)]
    assert select_sites("fc", alexnet) == {"fc1"}
    with pytest.raises(UsageError, match="hidden linear layers; this one has the sites conv1"):
        select_sites("fc", activated(Conv("conv1", 4, 3)))


def test_site_names_are_listed_once_in_order() -> None:
    one = network(cell(model=CNN), *DIGITS)
    assert site_names(one.layers) == ["conv1", "conv2"]


# -- shapes found on the meta device -----------------------------------------------------------


@pytest.mark.parametrize(
    ("axes", "said"),
    [
        ({"norm": "batch", "batch_size": 1}, "at site fc1: batch norm needs at least two"),
        ({"norm": "instance"}, "at site fc1: instance norm needs at least two positions"),
        ({"norm": {"name": "group", "groups": 16}}, "at site fc1: group norm needs at least two"),
        ({"norm": "layer", "model": {"name": "mlp", "width": 1}}, "at site fc1: layer norm needs"),
    ],
)
@pytest.mark.parametrize("device", ["meta", "cpu"])
def test_undefined_shapes_are_found_when_building(axes: Any, said: str, device: str) -> None:
    with pytest.raises(UndefinedError) as caught:
        built(None, device, **axes)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "axes",
    [
        {"norm": "batch", "batch_size": 2},
        {"norm": "batch", "batch_size": 1, "model": CNN},
        {"norm": "instance", "batch_size": 1, "model": CNN},
        {"norm": "none", "batch_size": 1},
        {"norm": "layer", "batch_size": 1},
        {"norm": "group", "batch_size": 1},
    ],
)
def test_defined_shapes_are_built_on_the_meta_device_without_memory(axes: Any) -> None:
    model = built(None, "meta", **axes)
    assert all(p.is_meta for p in model.parameters())
    assert count(model) == count(built(**axes))


def test_groups_that_do_not_fit_are_a_fault_with_its_place() -> None:
    with pytest.raises(UsageError, match=r"at site fc1: .*3 groups do not divide 16 channels"):
        built(None, "meta", norm={"name": "group", "groups": 3})


def test_a_model_that_cannot_take_the_input_is_named() -> None:
    with pytest.raises(UsageError, match=r"the layer .* cannot take a batch of shape"):
        build(network(cell(model=CNN), (1, 2, 2), 10), "meta")


# -- dropout -----------------------------------------------------------------------------------


def dropping(seed: int) -> Net:
    one = network(cell(norm="none"), *DIGITS)
    layers = (Flatten(), Dropout("drop", 0.25), Linear("classifier", 10))
    model = build(replace(one, layers=layers, sites=frozenset()))
    initialise(model, seed, "torch")
    return model


def test_dropout_draws_from_its_own_stream() -> None:
    x = torch.ones(200, 1, 8, 8)
    before = torch.get_rng_state()
    first, second, other = (dropping(s).parts["drop"] for s in (0, 0, 1))
    a, b, c = first(x), second(x), other(x)
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(a, b)
    assert not torch.equal(a, c)
    assert not torch.equal(a, first(x))
    assert a.unique().tolist() == pytest.approx([0, 4 / 3])
    assert (a == 0).float().mean().item() == pytest.approx(0.25, abs=0.02)


def test_dropout_does_nothing_in_evaluation() -> None:
    layer = dropping(0).parts["drop"]
    assert isinstance(layer, StreamDropout)
    x = torch.rand(5, 1, 8, 8)
    state = layer.generator.get_state()  # type: ignore[union-attr]
    assert torch.equal(layer.eval()(x), x)
    assert torch.equal(layer.generator.get_state(), state)  # type: ignore[union-attr]
