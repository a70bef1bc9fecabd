"""Weight norm: at the start the plain layer, and torch's parametrization in its gradients."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from normbench.norms.weight import WeightNormed, build


def layers() -> list[tuple[nn.Module, torch.Tensor]]:
    generator = torch.Generator().manual_seed(3)
    linear, conv = nn.Linear(5, 4).double(), nn.Conv2d(3, 4, 3, stride=2, padding=1).double()
    return [
        (linear, torch.randn(6, 5, generator=generator, dtype=torch.float64)),
        (conv, torch.randn(6, 3, 8, 8, generator=generator, dtype=torch.float64)),
    ]


def test_at_the_start_it_computes_what_the_plain_layer_does() -> None:
    for layer, x in layers():
        torch.testing.assert_close(build(layer)(x), layer(x), rtol=0, atol=1e-12)


def test_its_weight_has_norm_g_per_output() -> None:
    for layer, _ in layers():
        module = WeightNormed(layer)  # type: ignore[arg-type]
        with torch.no_grad():
            module.g.copy_(torch.arange(1.0, 5.0))
        norms = module.weight.flatten(1).norm(dim=1)
        torch.testing.assert_close(norms, torch.arange(1.0, 5.0, dtype=torch.float64))


def test_gradients_are_those_of_torchs_parametrization() -> None:
    for layer, x in layers():
        ours = build(layer)
        theirs = weight_norm(layer)
        for module in (ours, theirs):
            module(x).square().sum().backward()
        other = dict(theirs.named_parameters())
        g = other["parametrizations.weight.original0"].grad
        v = other["parametrizations.weight.original1"].grad
        torch.testing.assert_close(ours.g.grad, g.flatten())
        torch.testing.assert_close(ours.v.grad, v)


def test_other_layers_are_refused() -> None:
    with pytest.raises(TypeError, match="convolutions and linear layers"):
        build(nn.ReLU())
