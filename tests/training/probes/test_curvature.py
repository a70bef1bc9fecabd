"""The top eigenvalue against the whole Hessian, for every norm."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from normbench.training.probes.base import ProbeContext
from normbench.training.probes.curvature import curvature, top_eigenvalue
from tests.training.probes.nets import (
    batches,
    context_of,
    plain_loss,
    quadratic,
    read,
    some_norms,
    tiny,
    twin,
)


def whole_hessian(context: ProbeContext) -> Tensor:
    """The Hessian by autograd, row by row: no torch.func, no probe."""
    start = {n: p.detach() for n, p in context.model.named_parameters()}
    sizes = [p.numel() for p in start.values()]

    class Loss(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = twin(context.model)

        def forward(self) -> Tensor:
            return plain_loss(context, self.inner)

    def loss(vector: Tensor) -> Tensor:
        pieces = vector.split(sizes)
        parameters = {
            f"inner.{n}": v.reshape(p.shape)
            for (n, p), v in zip(start.items(), pieces, strict=True)
        }
        found: Tensor = functional_call(Loss(), parameters, ())
        return found

    at = torch.cat([p.flatten() for p in start.values()])
    hessian: Tensor = torch.autograd.functional.hessian(loss, at)
    return hessian


@pytest.mark.parametrize("norm", some_norms("none", "batch", "weight"))
def test_the_top_eigenvalue_is_that_of_the_whole_hessian(norm: str) -> None:
    context = context_of(tiny(norm), batches=batches(1), learning_rate=0.3)
    expected = float(torch.linalg.eigvalsh(whole_hessian(context))[-1])
    found = read(curvature, context)
    assert found["curvature", ""] == pytest.approx(expected, rel=1e-4)
    assert found["rate-curvature", ""] == pytest.approx(0.3 * expected, rel=1e-4)
    square = sum(
        float(p.detach().square().sum())
        for n, p in context.model.named_parameters()
        if p.dim() > 1 and "_norm" not in n
    )
    assert found["scaled-curvature", ""] == pytest.approx(square * expected, rel=1e-4)


def test_a_scale_invariant_net_keeps_only_its_scaled_curvature() -> None:
    """Before batch norm, weights twice as large have a quarter of the curvature."""
    model = tiny("batch", dropout=0.0)
    for name, parameter in model.named_parameters():
        parameter.requires_grad = name == "parts.conv1.weight"
    for norm in ("conv1_norm", "conv2_norm"):
        model.parts[norm].eps = 1e-12  # type: ignore[assignment]
    before = read(curvature, context_of(model))
    with torch.no_grad():
        model.get_parameter("parts.conv1.weight").mul_(2)
    after = read(curvature, context_of(model))
    assert after["curvature", ""] == pytest.approx(before["curvature", ""] / 4, rel=1e-3)
    assert after["scaled-curvature", ""] == pytest.approx(before["scaled-curvature", ""], rel=1e-3)


@pytest.mark.parametrize("seed", range(5))
def test_lanczos_on_matrices_whose_largest_magnitude_is_negative(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    values = torch.cat([torch.tensor([-9.0, 3.0]), torch.linspace(-1, 2, 58)]).double()
    random = torch.randn((60, 60), generator=generator, dtype=torch.float64)
    q = torch.linalg.qr(random).Q
    matrix = q @ torch.diag(values) @ q.T
    found = top_eigenvalue(
        lambda v: matrix @ v, torch.randn(60, generator=generator), steps=60, tolerance=1e-6
    )
    assert found.value == pytest.approx(3.0, rel=1e-9)
    assert found.residual <= 1e-6
    assert found.products < 60


def test_lanczos_ends_where_the_space_does() -> None:
    start = torch.tensor([1.0, 0.0, 0.0])
    assert top_eigenvalue(lambda v: 5 * v, start) == (5.0, 0.0, 1)
    zero = top_eigenvalue(torch.zeros_like, start)
    assert (zero.value, zero.residual) == (0.0, 0.0)
    broken = top_eigenvalue(lambda v: v * math.inf, start)
    assert math.isnan(broken.value)


def test_a_quadratic_in_float32() -> None:
    matrix = torch.diag(torch.tensor([-4.0, 0.5, 2.0]))
    found = read(curvature, quadratic(matrix, torch.ones(3), learning_rate=0.5))
    assert found["curvature", ""] == pytest.approx(2.0, rel=1e-5)
    assert found["rate-curvature", ""] == pytest.approx(1.0, rel=1e-5)
