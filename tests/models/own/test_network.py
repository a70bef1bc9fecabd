"""A network of the user's own: norms found and replaced, nothing lost on the way."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from normbench.errors import UndefinedError, UsageError
from normbench.models.make import check, made, restart
from normbench.models.own.network import OwnNet, wish_of
from normbench.models.own.places import Apart, ChannelsLast, Fused
from normbench.models.own.replace import replace_norms
from normbench.models.own.survey import survey
from normbench.norms.batch import BatchNorm
from normbench.norms.layer_channels import ChannelLayerNorm
from normbench.protocol.schema import Cell
from tests.builders import cell
from tests.models.own import nets

SHAPE, CLASSES = (1, 8, 8), 10


def model(name: str, **params: Any) -> dict[str, Any]:
    args = params.pop("args", {"num_classes": "$classes"})
    return {"name": "torch", "target": f"tests.models.own.nets:{name}", "args": args, **params}


def cell_of(name: str = "Small", norm: Any = "batch", sites: Any = "all", **params: Any) -> Cell:
    axes = {k: params.pop(k) for k in ("batch_size", "norm_batch_size") if k in params}
    return cell(model=model(name, **params), norm=norm, sites=sites, **axes)


def net_of(name: str = "Small", norm: Any = "batch", seed: int = 0, **more: Any) -> OwnNet:
    found = made(cell_of(name, norm, **more), SHAPE, CLASSES, seed)
    assert isinstance(found, OwnNet)
    return found


def inputs(items: int = 6, seed: int = 1) -> Tensor:
    return torch.randn((items, *SHAPE), generator=torch.Generator().manual_seed(seed))


def test_all_norms_start_from_equal_weights_and_put_generators_back() -> None:
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    kept = dict(net_of(norm="keep").named_parameters())
    for norm in ("batch", {"name": "group", "groups": 4}, "layer", "none", "dyt"):
        own = dict(net_of(norm=norm).named_parameters())
        for name in ("net.conv1.weight", "net.conv2.weight", "net.fc.weight", "net.fc.bias"):
            assert torch.equal(own[name], kept[name])
    other = dict(net_of(seed=1).named_parameters())
    assert not torch.equal(other["net.fc.weight"], kept["net.fc.weight"])
    after = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    assert torch.equal(before[0], after[0])
    assert before[1:] == after[1:]


def test_restarting_gives_the_weights_and_masks_of_the_other_seed() -> None:
    one, other = net_of("Dropping"), net_of("Dropping", seed=5)
    restart(one, one.cell, 5)
    for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    assert torch.equal(one(inputs()), other(inputs()))


@pytest.mark.parametrize("norm", ["keep", "batch"])
@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("Small", {}),
        ("Small", {"eps": 0.01}),
        ("Small", {"momentum": 0.25}),
        ("one_dimensional", {}),
        ("Shared", {}),
    ],
)
def test_batch_norm_replaced_by_itself_is_the_same_bits(
    norm: str, name: str, args: dict[str, Any]
) -> None:
    ours = net_of(name, norm, args=args)
    torch.manual_seed(0)
    theirs = getattr(nets, name)(**args).train()
    theirs(inputs())
    theirs.load_state_dict(ours.net.state_dict(), strict=False)
    for step in range(3):
        x = inputs(seed=step)
        y, wanted = ours(x), theirs(x)
        wanted = wanted[0] if isinstance(wanted, tuple) else wanted
        assert torch.equal(y, wanted)
        found = torch.autograd.grad(y.square().sum(), list(ours.parameters()), allow_unused=True)
        expected = torch.autograd.grad(
            wanted.square().sum(), list(theirs.parameters()), allow_unused=True
        )
        for a, b in zip(found, expected, strict=True):
            assert (a is None and b is None) or torch.equal(a, b)
    assert torch.equal(ours.eval()(inputs()), _first(theirs.eval()(inputs())))


def _first(found: Any) -> Tensor:
    return found[0] if isinstance(found, tuple) else found


def test_a_plain_average_of_running_statistics_stays_one() -> None:
    theirs = nets.Small(momentum=None)
    theirs(inputs())
    found = survey(theirs, SHAPE)
    twin = nets.Small(momentum=None)
    twin(inputs())
    twin.load_state_dict(theirs.state_dict())
    norms = replace_norms(twin, found, wish_of(cell_of(norm="keep")))
    for step in range(4):
        for norm in norms.values():
            norm.step = step
        assert torch.equal(twin(inputs(seed=step)), theirs(inputs(seed=step)))
    assert torch.allclose(twin.eval()(inputs()), theirs.eval()(inputs()), rtol=0, atol=1e-6)


def test_a_fused_activation_stays() -> None:
    timm = pytest.importorskip("timm.layers")
    fused = [
        timm.BatchNormAct2d(8, act_layer=nn.SiLU),
        timm.GroupNormAct(8, num_groups=2),
        timm.LayerNormAct2d(8),
        timm.RmsNormAct2d(8),
    ]
    for layer in fused:
        net = nn.Sequential(nn.Conv2d(1, 8, 3), layer, nn.Flatten(), nn.Linear(288, 10))
        replace_norms(net, survey(net, SHAPE), wish_of(cell_of(norm="none")))
        assert isinstance(net[1], Fused)
        before = net[0](inputs())
        assert torch.equal(net[1](before), layer.act(before.clone()))


def test_the_training_flag_the_type_and_frozen_parameters_stay() -> None:
    for norm in ("keep", "batch", {"name": "group", "groups": 4}):
        net = nets.Small().double()
        net(inputs().double())
        net.float()
        found = survey(net, SHAPE)
        net.double()
        net.bn1.eval()
        net.bn2.weight.requires_grad_(False)
        replace_norms(net, found, wish_of(cell_of(norm=norm)))
        assert not net.bn1.training
        assert net.bn2.training
        assert not net.bn2.weight.requires_grad
        assert net.bn2.bias.requires_grad
        assert all(t.dtype == torch.float64 for t in (*net.parameters(), *net.buffers()))


@pytest.mark.parametrize("norm", ["batch", {"name": "group", "groups": 4}, "layer-channels"])
def test_eps_is_the_replaced_norms_unless_it_is_asked_for(norm: Any) -> None:
    def eps(**more: Any) -> float:
        return float(net_of(norm=norm, args={"eps": 0.01}, **more).norms["bn1"].eps)

    assert eps() == 0.01
    assert eps(constants="norm") == 1e-5
    named = norm if isinstance(norm, dict) else {"name": norm}
    asked = net_of(norm={**named, "eps": 0.5}, args={"eps": 0.01})
    assert asked.norms["bn1"].eps == 0.5


def test_affine_is_carried_or_reset(monkeypatch: pytest.MonkeyPatch) -> None:
    def scaled(num_classes: int) -> nn.Module:
        net = nets.Small(num_classes)
        with torch.no_grad():
            net.bn1.weight.copy_(torch.arange(8.0))
            net.bn1.bias.fill_(3.0)
            net.bn1.running_mean.fill_(2.0)
        return net

    scaled.__module__ = nets.__name__
    monkeypatch.setattr(nets, "scaled", scaled, raising=False)
    for norm in ("batch", {"name": "group", "groups": 4}, "layer", "dyt"):
        carried = net_of("scaled", norm).norms["bn1"]
        assert torch.equal(carried.weight.flatten(1)[:, 0] if carried.weight.dim() > 1
                           else carried.weight, torch.arange(8.0))  # fmt: skip
        assert torch.all(carried.bias == 3.0)
        reset = net_of("scaled", norm, affine="reset").norms["bn1"]
        assert torch.all(reset.weight == 1.0)
    assert torch.all(net_of("scaled").norms["bn1"].running_mean == 2.0)
    assert torch.all(net_of("scaled", affine="reset").norms["bn1"].running_mean == 0.0)


def test_a_bias_that_was_left_out_is_added_where_it_matters() -> None:
    def biases(norm: Any, **more: Any) -> list[bool]:
        net = net_of(norm=norm, **more).net
        return [net.conv1.bias is not None, net.conv2.bias is not None]

    group = {"name": "group", "groups": 4}
    assert biases(group) == [True, True]
    assert not net_of(norm=group).net.conv1.bias.any()
    assert biases(group, bias_before="as-is") == [False, False]
    assert biases(group, sites=["bn2"]) == [False, True]
    for norm in ("keep", "batch", "instance", "batch-frozen"):
        assert biases(norm) == [False, False]


def test_groups_that_do_not_divide() -> None:
    with pytest.raises(UsageError, match=r"at bn1: .*3 groups do not divide 8"):
        net_of(norm={"name": "group", "groups": 3})
    fitting = net_of(norm={"name": "group", "groups": 32}, on_misfit="largest-divisor",
                     sites=["bn1"])  # fmt: skip
    assert fitting.norms["bn1"].num_groups == 8
    fitting = net_of(norm={"name": "group", "group_size": 5}, on_misfit="largest-divisor")
    assert fitting.norms["bn1"].num_groups == 2
    assert fitting.norms["bn2"].num_groups == 3
    with pytest.raises(UsageError, match="groups of 5 do not divide 8"):
        net_of(norm={"name": "group", "group_size": 5})


def test_group_norm_over_single_values_is_refused() -> None:
    with pytest.raises(UndefinedError, match=r"at 5: .*two values per group"):
        net_of("one_dimensional", {"name": "group", "groups": 12}, sites=["5"])


def test_batch_norm_of_single_values_is_undefined_also_where_it_is_kept() -> None:
    for norm in ("keep", "batch", {"name": "group", "groups": 3}):
        sites = ["2"] if norm not in ("keep", "batch") else "all"
        with pytest.raises(UndefinedError, match="at 5: batch norm needs at least two values"):
            net_of("one_dimensional", norm, batch_size=1, sites=sites)


def test_layer_norm_over_channels_is_not_group_norm_with_one_group() -> None:
    channels, one = net_of(norm="layer-channels"), net_of(norm={"name": "group", "groups": 1})
    assert type(channels.norms["bn1"]) is ChannelLayerNorm
    x = inputs()[:, :1].expand(-1, 8, -1, -1) * torch.arange(1.0, 9.0)[None, :, None, None]
    a, b = channels.norms["bn1"](x), one.norms["bn1"](x)
    assert (a - b).abs().max() > 0.1
    assert torch.allclose(a.mean(1), torch.zeros(()), atol=1e-5)


def test_at_layer_norm_channels_are_last() -> None:
    torch_own = net_of("Tokens", "keep")
    replaced = net_of("Tokens", "layer-channels")
    norm = replaced.norms["encoder.layers.0.norm1"]
    assert isinstance(norm, ChannelsLast)
    x = inputs()
    assert torch.allclose(torch_own(x), replaced(x), atol=1e-6)
    # in evaluation torch's attention layers would compute layer norm by themselves
    rms = net_of("Tokens", {"name": "group", "groups": 2})
    with torch.no_grad():
        assert torch.allclose(rms(x), rms.eval()(x), atol=1e-5)
        assert not torch.allclose(torch_own.eval()(x), rms(x), atol=1e-2)


def test_norm_calls_that_no_module_holds_are_counted() -> None:
    assert net_of("Loose").warnings == (
        "layer_norm is called 2 times in the forward pass of the network, outside any norm module: "
        "it stays as it is",
    )
    assert net_of().warnings == ()


def test_a_shared_norm_is_replaced_once_everywhere() -> None:
    net = net_of("Shared", {"name": "group", "groups": 4})
    assert net.net.first is net.net.second
    assert net.found.sites[0].names == ("first", "second")
    assert list(net.norms) == ["first"]
    assert net(inputs()).shape == (6, 10)


def test_a_subclass_that_is_not_known_is_refused_by_name_or_left_out() -> None:
    for norm in ("keep", "batch", "layer"):
        with pytest.raises(UsageError, match="the norm bn2 is a Changed, a subclass"):
            net_of("with_changed", norm)
    net = net_of("with_changed", "layer", sites=["bn1"])
    assert type(net.net.bn2) is nets.Changed


def test_sites_are_globs() -> None:
    net = net_of("Tokens", "none", sites=["encoder.*.norm1"])
    assert list(net.norms) == ["encoder.layers.0.norm1"]
    with pytest.raises(UsageError, match=r"no norm that matches 'bm1'.*'bn1'"):
        net_of(sites=["bm1"])
    assert isinstance(net_of(norm="layer", sites=["bn1"]).net.bn2, BatchNorm)
    assert list(net_of(norm="layer", sites="first-two").norms) == ["bn1", "bn2"]


def test_no_norm_leaves_what_a_residual_connection_reads() -> None:
    net = net_of("Preactivated", "none")
    assert isinstance(net.norms["norm"], Apart)
    x = inputs()
    kept = x.clone()
    net(x)
    assert torch.equal(x, kept)


def test_dropout_draws_from_its_stream_and_the_rest_from_the_steps() -> None:
    one, other = net_of("Dropping"), net_of("Dropping", "layer")
    assert not one.draws
    mask = [net.net.fc[0](torch.ones(50)) for net in (one, other)]
    assert torch.equal(*mask)

    drawing = net_of("Drawing")
    assert drawing.draws
    x, state = inputs(), torch.get_rng_state()
    first = drawing(x)
    assert torch.equal(first, drawing(x))
    drawing.step = 1
    assert not torch.equal(first, drawing(x))
    assert torch.equal(state, torch.get_rng_state())


def test_via_a_norm_layer_only_the_given_ones_are_sites() -> None:
    net = net_of("given", {"name": "group", "groups": 4}, via="norm_layer")
    assert list(net.norms) == ["1", "3"]
    assert isinstance(net.net[1], nn.GroupNorm)
    assert isinstance(net.net[3], BatchNorm)
    assert net.net[0].bias is not None
    assert isinstance(net_of("given", "keep", via="norm_layer").net[1], BatchNorm)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"name": "no_module", "args": {}}, "gives a torch module; .* gave int"),
        ({"args": {"num_classes": 7}}, r"must give 10 outputs .*num_classes = \"\$classes\""),
        ({"norm": "weight"}, "changes the weights of built-in models"),
        ({"sites": "fc"}, "sites = fc is for built-in models"),
    ],
)
def test_what_cannot_be_trained_is_refused(more: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        net_of(**more)


@pytest.mark.parametrize("axis", [{"position": "post"}, {"init": "he"}])
def test_axes_without_effect_are_refused(axis: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="has no meaning for a network of your own"):
        made(cell(model=model("Small"), **axis), SHAPE, CLASSES, 0)


def test_keep_is_for_networks_of_ones_own() -> None:
    with pytest.raises(UsageError, match="keep leaves the norms of a network of your own"):
        check(cell(norm="keep"), SHAPE, CLASSES)
