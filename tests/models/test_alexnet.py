"""AlexNet has torchvision's parameters, whole and scaled down, under every norm."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from normbench.errors import UsageError
from normbench.models.describe import network
from normbench.models.plain import Net, build
from normbench.protocol.schema import Cell


def cell(norm: Any = "none", width: float = 1.0, **axes: Any) -> Cell:
    base = {
        "dataset": {"name": "digits"},
        "model": {"name": "alexnet", "width": width},
        "norm": norm if isinstance(norm, dict) else {"name": norm},
        "batch_size": 4, "learning_rate": 0.01, "epochs": 1, "sites": "first-two",
    }  # fmt: skip
    return Cell.model_validate(base | axes)


def net(c: Cell, resolution: int, device: str = "meta") -> Net:
    return build(network(c, (3, resolution, resolution), 2), device)


def count(model: Net) -> int:
    return sum(p.numel() for p in model.parameters())


def test_the_baseline_is_torchvisions_layer_by_layer() -> None:
    from torchvision.models import alexnet

    with torch.device("meta"):
        theirs = [tuple(p.shape) for p in alexnet(num_classes=2).parameters()]
    assert [tuple(p.shape) for p in net(cell(), 224).parameters()] == theirs


@pytest.mark.parametrize(
    ("norm", "extra"),
    [
        ("none", 0),
        ("batch", 2 * (64 + 192)),
        ("layer", 2 * (64 * 55 * 55 + 192 * 27 * 27)),
        ({"name": "group", "groups": 1}, 2 * (64 + 192)),
        ("instance", 2 * (64 + 192)),
        ("weight", 64 + 192),
    ],
)
def test_norms_after_the_first_two_convolutions_add_their_parameters(norm: Any, extra: int) -> None:
    assert count(net(cell(norm), 224)) == 57_012_034 + extra


def test_after_the_activation_the_sites_have_the_same_shapes() -> None:
    assert count(net(cell("layer", position="post"), 224)) == 57_012_034 + 667_136


@pytest.mark.parametrize(("width", "parameters"), [(0.25, 368_338), (0.125, 92_714)])
@pytest.mark.parametrize("resolution", [64, 32])
def test_scaled_down(width: float, parameters: int, resolution: int) -> None:
    assert count(net(cell(width=width), resolution)) == parameters
    layer = count(net(cell("layer", width=width), resolution))
    c1, c2 = round(64 * width), round(192 * width)
    assert layer - parameters == 2 * (c1 * 32 * 32 + c2 * 15 * 15)


def test_other_resolutions_are_refused() -> None:
    with pytest.raises(UsageError, match="32, 64, or at least 128 pixels; received 48"):
        net(cell(), 48)
