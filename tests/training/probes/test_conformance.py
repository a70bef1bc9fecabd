"""What every probe must do: touch nothing, repeat itself, and give finite numbers."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from torch import nn

from normbench.catalog import NORMS
from normbench.training.probes.activations import activations
from normbench.training.probes.base import Probe
from normbench.training.probes.covariate_shift import covariate_shift
from normbench.training.probes.curvature import curvature
from normbench.training.probes.drift import drift
from normbench.training.probes.gradient_noise import gradient_noise
from normbench.training.probes.gradients import gradient_tails, participation
from normbench.training.probes.landscape import landscape
from normbench.training.probes.max_step import max_step
from normbench.training.probes.weights import weights
from tests.training.probes.nets import batches, moment_of, read, tiny

PROBES: dict[str, Probe] = {
    "weights": weights,
    "landscape": landscape,
    "covariate-shift": covariate_shift,
    "activation-drift": drift,
    "curvature": curvature,
    "max-step": max_step,
    "activations": activations,
    "participation": participation,
    "gradient-noise": gradient_noise,
    "gradient-tails": gradient_tails,
}


def traces(model: nn.Module) -> dict[str, Any]:
    """Everything about a model that a probe could leave a trace in."""
    found: dict[str, Any] = dict(copy.deepcopy(model.state_dict()))
    for name, parameter in model.named_parameters():
        found[f"{name} grad"] = parameter.grad is None
        found[f"{name} requires"] = parameter.requires_grad
    for name, module in model.named_modules():
        found[f"{name} mode"] = module.training
        found[f"{name} hooks"] = len(module._forward_hooks) + len(module._forward_pre_hooks)
        held = getattr(module, "generator", None)
        if isinstance(held, torch.Generator):
            found[f"{name} generator"] = held.get_state()
    found["global generator"] = torch.get_rng_state()
    found["gradients on"] = torch.is_grad_enabled()
    return found


def same(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """The names of what differs."""
    assert one.keys() == other.keys()
    return [
        name
        for name, value in one.items()
        if not (
            torch.equal(value, other[name])
            if isinstance(value, torch.Tensor)
            else value == other[name]
        )
    ]


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("name", PROBES)
def test_a_probe_touches_nothing_repeats_itself_and_is_finite(name: str, norm: str) -> None:
    model, data = tiny(norm), batches(2)
    kept = [(x.clone(), y.clone()) for x, y in data]
    previous = {n: 0.9 * p.detach() for n, p in model.named_parameters()}
    before = traces(model)
    moment = moment_of(model, batches=data, previous=previous)
    first, values = read(PROBES[name], moment), read(PROBES[name], moment)
    assert same(before, traces(model)) == []
    assert first == {key: values[key] for key in first}
    assert values
    for key, value in values.items():
        assert math.isfinite(value), key
    for (x, y), (x0, y0) in zip(data, kept, strict=True):
        assert torch.equal(x, x0)
        assert torch.equal(y, y0)


@pytest.mark.parametrize("name", PROBES)
def test_the_mode_is_training_whatever_the_model_is_in(name: str) -> None:
    in_training = read(PROBES[name], moment_of(tiny("batch"), batches=batches(2)))
    model = tiny("batch").eval()
    before = traces(model)
    assert read(PROBES[name], moment_of(model, batches=batches(2))) == in_training
    assert same(before, traces(model)) == []


@pytest.mark.parametrize("name", PROBES)
def test_a_diverged_net_ends_no_probe(name: str) -> None:
    model = tiny("none")
    with torch.no_grad():
        model.get_parameter("parts.conv1.weight").mul_(1e200)
    for value in read(PROBES[name], moment_of(model)).values():
        assert isinstance(value, float)
