"""Batch renorm and frozen batch norm: against the papers' equations, step by step."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from normbench.conformance.subject import default_params
from normbench.norms.batch import BatchNorm
from normbench.norms.batch_frozen import FrozenBatchNorm
from normbench.norms.batch_renorm import BatchRenorm, limits
from normbench.norms.factory import build_norm
from normbench.norms.schedule import ramp, scheduled, set_step

SHAPES = [(5,), (5, 4, 3)]


def made(name: str, shape: tuple[int, ...], **params: Any) -> Any:
    return build_norm(name, {**default_params(name), **params}, shape, 4).double()


def batches(shape: tuple[int, ...], count: int, size: int = 4, seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [
        3 * torch.randn(size, *shape, generator=generator, dtype=torch.float64) + 1
        for _ in range(count)
    ]


def at(norm: nn.Module, step: int, steps: int = 100) -> None:
    set_step(scheduled(norm), step, steps)


def with_values(norm: Any) -> Any:
    """Give scale, shift and running statistics values of their own."""
    with torch.no_grad():
        channels = torch.arange(5.0, dtype=torch.float64)
        norm.weight.copy_(1 + 0.2 * channels)
        norm.bias.copy_(0.3 * channels - 0.5)
        norm.running_mean.copy_(0.5 * channels)
        norm.running_var.copy_(1 + channels)
    return norm


def wide(values: Tensor, x: Tensor) -> Tensor:
    return values.reshape(1, -1, *([1] * (x.dim() - 2)))


def renormed(norm: Any, x: Tensor, r_max: float, d_max: float) -> Tensor:
    """The paper's Algorithm 1, with autograd through everything but r and d."""
    dims = [0, *range(2, x.dim())]
    mean = wide(x.mean(dims), x)
    sigma_batch = (wide(x.var(dims, correction=0), x) + norm.eps).sqrt()
    sigma = (wide(norm.running_var.clone(), x) + norm.eps).sqrt()
    r = (sigma_batch / sigma).detach().clamp(1 / r_max, r_max)
    d = ((mean - wide(norm.running_mean.clone(), x)) / sigma).detach().clamp(-d_max, d_max)
    return wide(norm.weight, x) * ((x - mean) / sigma_batch * r + d) + wide(norm.bias, x)


# -- the schedule ------------------------------------------------------------------------------


def test_a_ramp() -> None:
    assert [ramp(t, 0.25, 0.75) for t in (0, 0.25, 0.5, 0.75, 0.9)] == [0, 0, 0.5, 1, 1]
    assert [ramp(t, 0.5, 0.5) for t in (0.4, 0.5)] == [0, 1]
    assert [ramp(t, 0.6, 0.3) for t in (0.4, 0.6)] == [0, 1]
    assert ramp(0, 0, 0) == 1


def test_the_limits_are_the_papers_as_shares_of_the_run() -> None:
    shares = {"plain": 0.05, "r_by": 0.4, "d_by": 0.25}
    found = [limits(t, r_max=3, d_max=5, **shares) for t in (0, 0.049, 0.15, 0.25, 0.4, 1)]
    assert found[:2] == [(1, 0), (1, 0)]
    assert found[2] == (pytest.approx(1 + 2 * 0.1 / 0.35), pytest.approx(2.5))
    assert found[3][1] == found[4][1] == 5
    assert found[4][0] == found[5][0] == 3


def test_norms_are_told_the_step_wherever_they_stand() -> None:
    model = nn.Sequential(nn.Sequential(made("batch-renorm", (5,))), made("batch", (5,)),
                          made("batch-frozen", (5,)))  # fmt: skip
    assert [norm.done for norm in scheduled(model)] == [0, 0]
    set_step(scheduled(model), 3, 12)
    assert [norm.done for norm in scheduled(model)] == [0.25, 0.25]


# -- batch renorm ------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(
    shape=st.sampled_from(SHAPES), size=st.integers(2, 6), done=st.integers(5, 99),
    seed=st.integers(0, 1000),
)  # fmt: skip
def test_renorm_and_its_gradients_are_the_papers(
    shape: tuple[int, ...], size: int, done: int, seed: int
) -> None:
    norm = with_values(made("batch-renorm", shape))
    at(norm, done)
    x = batches(shape, 1, size, seed)[0].requires_grad_()
    wanted = renormed(norm, x, *limits(done / 100, **norm.schedule))
    weights = torch.randn(x.shape, generator=torch.Generator().manual_seed(seed)).double()
    inputs = (x, norm.weight, norm.bias)
    expected = torch.autograd.grad((wanted * weights).sum(), inputs)
    found = norm(x)
    assert torch.allclose(found, wanted, rtol=0, atol=1e-10)
    for a, b in zip(torch.autograd.grad((found * weights).sum(), inputs), expected, strict=True):
        assert torch.allclose(a, b, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("shape", SHAPES)
def test_at_first_it_is_batch_norm(shape: tuple[int, ...]) -> None:
    norm, plain = made("batch-renorm", shape), made("batch", shape, momentum=0.01)
    for step, x in enumerate(batches(shape, 5)):
        at(norm, step)
        assert torch.allclose(norm(x), plain(x), rtol=0, atol=1e-12)
        assert torch.allclose(norm.running_mean, plain.running_mean, rtol=0, atol=1e-14)
        assert torch.allclose(norm.running_var, plain.running_var, rtol=0, atol=1e-14)


def test_without_limits_training_is_evaluation() -> None:
    """The point of the method: x̂·r + d is the input normalized by the running statistics."""
    norm = with_values(made("batch-renorm", (5,), r_max=1e6, d_max=1e6, plain=0.0, r_by=0.0,
                            d_by=0.0))  # fmt: skip
    x = batches((5,), 1)[0]
    evaluated = norm.eval()(x)
    assert torch.allclose(norm.train()(x), evaluated, rtol=0, atol=1e-10)


def test_the_statistics_of_each_batch_are_what_training_uses() -> None:
    norm = with_values(made("batch-renorm", (5, 4, 3)))
    at(norm, 30)
    parts = batches((5, 4, 3), 3)
    norm.eval()
    norm.mode, norm.evaluation_batch = "batch", 4
    kept = norm.running_mean.clone()
    found = norm(torch.cat(parts))
    assert torch.equal(norm.running_mean, kept)
    wanted = torch.cat([renormed(norm, x, *limits(0.3, **norm.schedule)) for x in parts])
    assert torch.allclose(found, wanted, rtol=0, atol=1e-10)


def test_ghost_batches_are_renormed_each_by_its_own() -> None:
    norm = with_values(made("batch-renorm", (5,)))
    norm.ghost = 4
    at(norm, 30)
    parts = batches((5,), 3)
    wanted = torch.cat([renormed(norm, x, *limits(0.3, **norm.schedule)) for x in parts])
    before = norm.running_mean.clone()
    assert torch.allclose(norm(torch.cat(parts)), wanted, rtol=0, atol=1e-10)
    mean = torch.cat(parts).mean(0)
    assert torch.allclose(norm.running_mean, before.lerp(mean, 0.01), rtol=0, atol=1e-12)


def test_renorm_without_a_scale() -> None:
    bare, norm = (made("batch-renorm", (5,), affine=affine) for affine in (False, True))
    for one in (bare, norm):
        one.running_mean.fill_(0.4)
        at(one, 30)
    x = batches((5,), 1)[0]
    assert torch.allclose(bare(x), norm(x), rtol=0, atol=1e-12)


# -- frozen batch norm -------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES)
def test_frozen_norm_is_batch_norm_until_it_freezes(shape: tuple[int, ...]) -> None:
    norm, plain = made("batch-frozen", shape), made("batch", shape)
    parts = batches(shape, 10)
    for step, x in enumerate(parts[:5]):
        at(norm, step, 10)
        assert torch.equal(norm(x), plain(x))
    kept = norm.running_mean.clone(), norm.running_var.clone()
    for step, x in enumerate(parts[5:]):
        at(norm, 5 + step, 10)
        found = norm(x)
        mean, variance = (wide(s, x) for s in kept)
        assert torch.allclose(found, (x - mean) / (variance + 1e-5).sqrt(), rtol=0, atol=1e-12)
        assert torch.equal(found, norm.eval()(x))
        norm.train()
    assert torch.equal(norm.running_mean, kept[0])
    assert torch.equal(norm.running_var, kept[1])


def test_the_statistics_are_a_plain_average_until_momentum_weighs_more() -> None:
    norm = made("batch-frozen", (5,), momentum=0.25)
    parts = batches((5,), 6)
    for step, x in enumerate(parts[:4]):
        at(norm, step)
        norm(x)
    mean = torch.stack([x.mean(0) for x in parts[:4]]).mean(0)
    variance = torch.stack([x.var(0) for x in parts[:4]]).mean(0)
    assert torch.allclose(norm.running_mean, mean, rtol=0, atol=1e-12)
    assert torch.allclose(norm.running_var, variance, rtol=0, atol=1e-12)
    for step, x in enumerate(parts[4:]):
        at(norm, 4 + step)
        norm(x)
        mean = mean.lerp(x.mean(0), 0.25)
    assert torch.allclose(norm.running_mean, mean, rtol=0, atol=1e-12)


def test_frozen_as_born_it_is_the_identity() -> None:
    x = batches((5, 4, 3), 1)[0]
    norm = made("batch-frozen", (5, 4, 3), after=0.0)
    assert torch.allclose(norm(x), x / (1 + 1e-5) ** 0.5, rtol=0, atol=1e-12)
    assert not norm.running_mean.any()


def test_frozen_from_the_start_it_uses_the_statistics_that_are_stored() -> None:
    """As in fine-tuning: in training as in evaluation, and nothing moves but scale and shift."""
    norm, plain = with_values(made("batch-frozen", (5,), after=0.0)), made("batch", (5,))
    norm.running_mean.copy_(torch.arange(5.0))
    norm.running_var.copy_(torch.arange(5.0) + 0.5)
    plain.load_state_dict(norm.state_dict())
    for step, x in enumerate(batches((5,), 3)):
        at(norm, step)
        wanted = plain.eval()(x)
        assert torch.equal(norm.train()(x), wanted)
        assert torch.equal(norm.eval()(x), wanted)
    assert torch.equal(norm.running_mean, plain.running_mean)
    assert torch.equal(norm.running_var, plain.running_var)


def test_once_frozen_all_kinds_of_statistics_are_the_same() -> None:
    norm = with_values(made("batch-frozen", (5,)))
    at(norm, 60)
    x = torch.cat(batches((5,), 3))
    norm.eval()
    wanted = norm(x)
    norm.start_collecting()
    for mode in ("batch", "collect"):
        norm.mode, norm.evaluation_batch = mode, 4
        assert torch.equal(norm(x), wanted)
    mean, variance = norm.collected()
    assert torch.equal(mean, norm.running_mean)
    assert torch.equal(variance, norm.running_var)
    assert mean is not norm.running_mean


def test_they_are_batch_norms_wherever_those_are_looked_for() -> None:
    for kind in (BatchRenorm, FrozenBatchNorm):
        assert issubclass(kind, BatchNorm)
