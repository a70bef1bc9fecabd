"""Covariate shift by Santurkar's definition: by hand on copies, and in closed form."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from normbench.training.probes.covariate_shift import covariate_shift
from tests.training.probes.nets import (
    batches,
    context_of,
    plain_gradients,
    read,
    some_norms,
    tiny,
    twin,
)

QUANTITIES = ("covariate-shift", "covariate-shift-relative", "covariate-shift-cosine")


@pytest.mark.parametrize("norm", some_norms("none", "batch", "weight"))
def test_by_hand_on_copies(norm: str) -> None:
    context = context_of(tiny(norm), batches=batches(1), learning_rate=0.2)
    gradient = plain_gradients(context, context.model)
    found = read(covariate_shift, context)
    names = list(gradient)
    weight = {"conv1": "conv1.", "conv2": "conv2.", "classifier": "classifier."}
    for layer, prefix in weight.items():
        own = next(
            n for n in names if n.startswith(f"parts.{prefix}") and n.endswith(("weight", "v"))
        )
        model = twin(context.model)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if name.startswith(f"parts.{prefix}"):
                    break
                parameter.sub_(0.2 * gradient[name])
        before, after = gradient[own].flatten(), plain_gradients(context, model)[own].flatten()
        shift = float((before - after).norm())
        assert found["covariate-shift", layer] == pytest.approx(shift, rel=1e-9, abs=0)
        relative = found["covariate-shift-relative", layer]
        assert relative == pytest.approx(shift / float(before.norm()), rel=1e-9, abs=0)
        cosine = float(before @ after / (before.norm() * after.norm()))
        assert found["covariate-shift-cosine", layer] == pytest.approx(cosine, rel=1e-12)


@pytest.mark.parametrize("norm", some_norms("none", "batch", "weight"))
def test_nothing_shifts_for_the_first_layer_and_something_for_later_ones(norm: str) -> None:
    found = read(covariate_shift, context_of(tiny(norm)))
    assert [found[q, "conv1"] for q in QUANTITIES] == [0.0, 0.0, 1.0]
    for layer in ("conv2", "classifier"):
        assert found["covariate-shift", layer] > 0
        assert found["covariate-shift-cosine", layer] < 1
    for quantity in QUANTITIES:
        later = [found[quantity, layer] for layer in ("conv2", "classifier")]
        assert found[quantity, ""] == pytest.approx(sum(later) / 2)


def test_two_numbers_in_a_row() -> None:
    """y = bax with L = (y − t)²/2: ∂L/∂b = (bax − t)·ax, before and after a takes its step."""
    a, b, x, t, rate = 0.7, -1.3, 2.0, 0.4, 0.05
    model = nn.Sequential(nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)).double()
    with torch.no_grad():
        model[0].weight.fill_(a)
        model[1].weight.fill_(b)

    def loss(outputs: Tensor, labels: Tensor) -> Tensor:
        return 0.5 * (outputs[:, 0] - labels).square().mean()

    data = (torch.tensor([[x]], dtype=torch.float64), torch.tensor([t], dtype=torch.float64))
    found = read(covariate_shift, context_of(model, loss=loss, batches=(data,), learning_rate=rate))
    moved = a - rate * (b * a * x - t) * b * x
    shift = abs((b * a * x - t) * a * x - (b * moved * x - t) * moved * x)
    assert found["covariate-shift", "0"] == 0.0
    assert found["covariate-shift", "1"] == pytest.approx(shift, rel=1e-12)
    relative = shift / abs((b * a * x - t) * a * x)
    assert found["covariate-shift-relative", "1"] == pytest.approx(relative, rel=1e-12)


def test_a_dead_layer_has_no_relative_shift() -> None:
    model = tiny("none", dropout=0.0)
    with torch.no_grad():
        model.get_parameter("parts.conv1.bias").fill_(-1e3)
    found = read(covariate_shift, context_of(model))
    assert found["covariate-shift", "conv2"] == 0.0
    assert ("covariate-shift-relative", "conv2") not in found
    assert ("covariate-shift-cosine", "conv2") not in found
