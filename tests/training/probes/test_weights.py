"""Sizes and angles of weights and updates."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from normbench.training.probes.weights import angle, weights
from tests.training.probes.nets import context_of, read, tiny


def _linear(rows: list[list[float]]) -> nn.Module:
    model = nn.Sequential(nn.Linear(2, 2))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor(rows))
        model[0].bias.fill_(100.0)
    return model


def test_a_turned_weight() -> None:
    previous = {"0.weight": torch.tensor([[3.0, 0.0], [0.0, 0.0]]), "0.bias": torch.zeros(2)}
    model = _linear([[0.0, 4.0], [0.0, 0.0]])
    found = read(weights, context_of(model, previous=previous, learning_rate=0.8))
    for layer in ("", "0"):
        assert found["weight-norm", layer] == 4.0
        assert found["used-weight-norm", layer] == 4.0
        assert found["update-norm", layer] == pytest.approx(5.0)
        assert found["relative-update", layer] == pytest.approx(5 / 3)
        assert found["angular-update", layer] == pytest.approx(math.pi / 2)
        assert found["weight-growth", layer] == 1.0
    assert found["effective-rate", "0"] == pytest.approx(0.05)
    assert found["largest-weight", ""] == 4.0


def test_growth_is_measured_from_the_first_moment() -> None:
    memory: dict[str, object] = {}
    read(weights, context_of(_linear([[1.0, 0.0], [0.0, 0.0]]), memory=memory))
    found = read(weights, context_of(_linear([[0.0, -3.0], [0.0, 0.0]]), memory=memory))
    assert found["weight-growth", "0"] == 3.0
    assert found["weight-growth", ""] == 3.0


def test_the_first_moment_has_no_update() -> None:
    quantities = {name for name, _ in read(weights, context_of(tiny("layer")))}
    assert not quantities & {"update-norm", "relative-update", "angular-update"}
    assert {"weight-norm", "effective-rate"} <= quantities


def test_weight_norm_stores_a_direction_and_uses_another_length() -> None:
    model = tiny("weight")
    found = read(weights, context_of(model))
    g, v = (model.get_parameter(f"parts.conv1.{n}").detach() for n in ("g", "v"))
    assert found["weight-norm", "conv1"] == pytest.approx(float(v.norm()))
    assert found["used-weight-norm", "conv1"] == pytest.approx(float(g.norm()))
    layers = [found["used-weight-norm", n] for n in ("conv1", "conv2", "classifier")]
    assert found["used-weight-norm", ""] == pytest.approx(math.hypot(*layers))


@pytest.mark.parametrize("small", [1e-3, 1e-8, 1e-12])
def test_small_angles_keep_their_digits(small: float) -> None:
    a = torch.tensor([1.0, 0.0], dtype=torch.float64)
    b = torch.tensor([math.cos(small), math.sin(small)], dtype=torch.float64)
    assert angle(a, 7 * b) == pytest.approx(small, rel=1e-3)
    assert angle(a, 0 * b) is None
    assert angle(a, -a) == pytest.approx(math.pi)
