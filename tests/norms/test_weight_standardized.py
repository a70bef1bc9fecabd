"""Weight standardization: the weights by hand, what it does not see, and its group norm."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from normbench.catalog import NORMS
from normbench.conformance.subject import default_params
from normbench.errors import UndefinedError
from normbench.models.describe import network
from normbench.models.plain import Net, initialise
from normbench.models.plain import build as build_net
from normbench.norms.factory import stands_at_sites
from normbench.norms.weight_standardized import WEIGHT_EPS, WeightStandardized, build
from normbench.training.optimizers import decay_mask
from tests.builders import cell

PARAMS = default_params("weight-standardized")


def wrapped(layer: nn.Module) -> WeightStandardized:
    found = build(layer.double(), **PARAMS)
    assert isinstance(found, WeightStandardized)
    return found


def net(**axes: Any) -> Net:
    one = cell(**axes)
    model = build_net(network(one, (1, 8, 8), 10))
    initialise(model, 0, "torch")
    return model


@pytest.mark.parametrize("layer", [nn.Linear(5, 4), nn.Conv2d(3, 4, 3, stride=2, padding=1)])
def test_each_outputs_weights_are_standardized(layer: nn.Module) -> None:
    module = wrapped(layer)
    for row, stored in zip(module.weight, module.v, strict=True):
        values = stored.flatten()
        wanted = (values - values.mean()) / (values.var(correction=0) + WEIGHT_EPS).sqrt()
        assert torch.allclose(row.flatten(), wanted, rtol=0, atol=1e-12)


def test_it_computes_the_layer_with_those_weights() -> None:
    layer = nn.Conv2d(3, 4, 3, stride=2, padding=1).double()
    module = wrapped(layer)
    x = torch.randn(2, 3, 7, 7, generator=torch.Generator().manual_seed(0)).double()
    wanted = nn.functional.conv2d(x, module.weight, layer.bias, stride=2, padding=1)
    assert torch.equal(module(x), wanted)


def test_scale_and_shift_of_the_stored_weights_change_nothing() -> None:
    module = wrapped(nn.Linear(50, 4))
    before = module.weight.detach().clone()
    with torch.no_grad():
        module.v.mul_(100).add_(3)
    assert torch.allclose(module.weight, before, rtol=0.01)


def test_a_single_weight_per_output_is_undefined() -> None:
    with pytest.raises(UndefinedError, match="at least two weights per output"):
        build(nn.Linear(1, 4), **PARAMS)
    with pytest.raises(TypeError, match="convolutions and linear layers"):
        build(nn.ReLU(), **PARAMS)


def test_timms_convolution() -> None:
    timm = pytest.importorskip("timm.layers")
    theirs = timm.StdConv2d(3, 4, 3, padding=1, eps=WEIGHT_EPS, bias=True)
    x = torch.randn(2, 3, 7, 7, generator=torch.Generator().manual_seed(0))
    plain = nn.Conv2d(3, 4, 3, padding=1)
    plain.load_state_dict(theirs.state_dict())
    assert torch.allclose(build(plain, **PARAMS)(x), theirs(x), atol=1e-5)


@pytest.mark.parametrize("position", ["pre", "post"])
def test_it_comes_with_group_norm_or_alone(position: str) -> None:
    model = {"name": "small-cnn", "width": 8}
    both = net(model=model, norm="weight-standardized", position=position)
    alone = net(model=model, norm={"name": "weight-standardized", "groups": 0}, position=position)
    group = net(model=model, norm="group", position=position)
    assert list(both.parts) == list(group.parts)
    assert [n for n in alone.parts if n.endswith("_norm")] == []
    for name in ("conv1", "conv2"):
        assert isinstance(both.parts[name], WeightStandardized)
        assert isinstance(alone.parts[name], WeightStandardized)
        assert isinstance(both.parts[f"{name}_norm"], nn.GroupNorm)
    assert isinstance(both.parts["classifier"], nn.Linear)
    assert both.parts["conv1_norm"].num_groups == 8
    for name in ("conv1", "conv2"):  # paired with the others at the start
        assert torch.equal(both.parts[name].v, group.parts[name].weight)


def test_the_stored_weights_decay_and_the_scales_do_not() -> None:
    model = net(norm="weight-standardized", model={"name": "mlp", "width": 16})
    names = [n for n, _ in model.named_parameters()]
    decayed = [n for n, on in zip(names, decay_mask(model), strict=True) if on]
    assert decayed == ["parts.fc1.v", "parts.fc2.v", "parts.classifier.weight"]


def test_which_norms_stand_at_sites() -> None:
    assert [name for name in NORMS if not stands_at_sites(name)] == ["weight"]
