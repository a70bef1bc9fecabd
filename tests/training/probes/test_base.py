"""The loss as a function of the parameters, and the layers of a model."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from normbench.catalog import NORMS
from normbench.training.probes.base import (
    ProbeLoss,
    cosine,
    first_batches,
    flat,
    moved,
    shaped,
    undisturbed,
    weight_layers,
)
from tests.training.probes.nets import (
    batches,
    context_of,
    plain_gradients,
    plain_loss,
    tiny,
    twin,
)


@pytest.mark.parametrize("norm", NORMS.complete)
def test_the_layers_with_weights_are_the_same_under_every_norm(norm: str) -> None:
    layers = weight_layers(tiny(norm))
    assert [layer.name for layer in layers] == ["conv1", "conv2", "classifier"]


def test_weight_layers_of_foreign_modules() -> None:
    model = nn.Sequential(
        nn.LSTM(4, 3), nn.LayerNorm((2, 3)), nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    )
    found = {layer.name: layer.weights for layer in weight_layers(model)}
    assert found == {"0": ("0.weight_ih_l0", "0.weight_hh_l0"), "2.0": ("2.0.weight",)}


@pytest.mark.parametrize("norm", NORMS.complete)
def test_loss_and_gradient_are_those_of_the_model_in_training(norm: str) -> None:
    context = context_of(tiny(norm))
    objective = ProbeLoss(context)
    loss, gradient = objective.value_and_gradient(objective.here)
    assert loss == pytest.approx(plain_loss(context, twin(context.model)).item(), rel=1e-12)
    assert objective.value(objective.here) == loss
    for name, g in plain_gradients(context, context.model).items():
        torch.testing.assert_close(gradient[name], g, rtol=1e-10, atol=1e-14)
    part = objective.gradient(objective.here, ["parts.classifier.bias"])
    assert list(part) == ["parts.classifier.bias"]
    torch.testing.assert_close(part["parts.classifier.bias"], gradient["parts.classifier.bias"])


@pytest.mark.parametrize("norm", NORMS.complete)
def test_the_hessian_product_is_the_difference_of_gradients(norm: str) -> None:
    context = context_of(tiny(norm))
    objective = ProbeLoss(context)
    here = objective.here
    generator = torch.Generator().manual_seed(1)
    direction = {n: torch.randn(p.shape, generator=generator).to(p) for n, p in here.items()}
    step = 1e-6
    ahead = flat(objective.gradient(moved(here, direction, step)))
    behind = flat(objective.gradient(moved(here, direction, -step)))
    difference = (ahead - behind) / (2 * step)
    product = flat(objective.hessian_product(here, direction))
    assert float((product - difference).norm() / difference.norm()) < 1e-6


def test_every_evaluation_sees_the_same_masks_and_global_draws() -> None:
    class Draws(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = nn.Parameter(torch.ones(1, 16))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return nn.functional.dropout(self.w.expand(len(x), 16), 0.5, self.training)

    context = context_of(Draws(), loss=lambda outputs, labels: outputs.square().mean())
    objective = ProbeLoss(context)
    first = objective.value(objective.here)
    assert objective.value(objective.here) == first
    # the batches of one evaluation have different masks
    assert ProbeLoss(context, context.batches[:1]).value(objective.here) != first


def test_undisturbed_restores_modes_and_states_after_an_error() -> None:
    model = tiny("batch").eval()
    model.parts["conv1_norm"].train()
    torch.manual_seed(4)
    expected = torch.rand(3)
    torch.manual_seed(4)

    def fail() -> None:
        with undisturbed(model):
            assert all(module.training for module in model.modules())
            torch.rand(5)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert [n for n, m in model.named_modules() if m.training] == ["parts.conv1_norm"]
    torch.testing.assert_close(torch.rand(3), expected)


@pytest.mark.parametrize(("size", "count"), [(1, 8), (8, 8), (16, 4), (60, 2), (64, 1), (200, 1)])
def test_small_batches_are_averaged_over_more_of_them(size: int, count: int) -> None:
    context = context_of(nn.Linear(1, 1), batches=batches(8, size))
    assert len(first_batches(context)) == count


def test_vectors_and_their_shapes() -> None:
    state = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.tensor([7.0])}
    vector = flat(state)
    assert vector.dtype == torch.float64
    assert flat(state, ["b"]).tolist() == [7.0]
    for name, tensor in shaped(vector, state).items():
        assert torch.equal(tensor, state[name])
        assert tensor.dtype == torch.float32
    assert cosine(vector, vector) == 1.0
    assert cosine(vector, torch.zeros(7, dtype=torch.float64)) is None
    tiny_vector = 1e-120 * vector  # whose square is zero in float64
    assert cosine(1e-80 * tiny_vector, tiny_vector) == pytest.approx(1.0)
    assert cosine(vector, -3 * vector) == pytest.approx(-1)
