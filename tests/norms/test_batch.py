"""Batch norm against torch's own layer, and its other ways to evaluate against plain loops."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from normbench.norms.batch import BatchNorm, build

SHAPES = [(5,), (5, 4, 3)]


def reference(shape: tuple[int, ...], **settings: Any) -> nn.Module:
    kind = nn.BatchNorm1d if len(shape) == 1 else nn.BatchNorm2d
    return kind(shape[0], **settings)


def ours(shape: tuple[int, ...], eps: float = 1e-5, momentum: float = 0.1) -> BatchNorm:
    found = build(shape, batch_size=4, eps=eps, momentum=momentum, affine=True)
    assert isinstance(found, BatchNorm)
    return found


def batches(shape: tuple[int, ...], count: int, size: int = 4, seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [3 * torch.randn(size, *shape, generator=generator) + 1 for _ in range(count)]


@pytest.mark.parametrize("momentum", [0.1, 0.01, 1.0])
@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
def test_training_and_running_evaluation_are_torchs_bit_for_bit(
    shape: tuple[int, ...], affine: bool, momentum: float
) -> None:
    settings = {"eps": 1e-3, "momentum": momentum, "affine": affine}
    mine, theirs = build(shape, batch_size=4, **settings), reference(shape, **settings)
    for step, x in enumerate(batches(shape, 5)):
        a, b = x.clone().requires_grad_(), x.clone().requires_grad_()
        assert torch.equal(mine(a), theirs(b))
        weights = torch.randn(x.shape, generator=torch.Generator().manual_seed(step))
        (mine(a) * weights).sum().backward()
        (theirs(b) * weights).sum().backward()
        assert torch.equal(a.grad, b.grad)  # type: ignore[arg-type]
        assert torch.equal(mine.running_mean, theirs.running_mean)  # type: ignore[arg-type]
        assert torch.equal(mine.running_var, theirs.running_var)  # type: ignore[arg-type]
        for p, q in zip(mine.parameters(), theirs.parameters(), strict=True):
            assert torch.equal(p.grad, q.grad)  # type: ignore[arg-type]
            with torch.no_grad():
                p -= 0.1 * p.grad  # type: ignore[operator]
                q -= 0.1 * q.grad  # type: ignore[operator]
    mine.eval()
    theirs.eval()
    x = batches(shape, 1, seed=9)[0]
    assert torch.equal(mine(x), theirs(x))


def test_the_running_statistics_by_hand() -> None:
    norm = ours((1,), momentum=0.25)
    norm(torch.tensor([[1.0], [2.0], [6.0]]))
    # mean 3, unbiased variance 7; the old ones are 0 and 1
    assert norm.running_mean.item() == pytest.approx(0.75)
    assert norm.running_var.item() == pytest.approx(0.75 + 0.25 * 7)


def test_two_values_become_plus_and_minus_one() -> None:
    y = ours((3,))(torch.tensor([[1.0, -2.0, 5.0], [3.0, 8.0, 4.0]]))
    assert torch.allclose(y, torch.tensor([[-1.0, -1, 1], [1, 1, -1]]), atol=1e-4)


@settings(max_examples=40, deadline=None)
@given(
    count=st.integers(1, 6), size=st.integers(2, 7), shape=st.sampled_from([(3,), (3, 2, 2)]),
    seed=st.integers(0, 1000),
)  # fmt: skip
def test_batch_statistics_equal_a_loop_over_the_batches(
    count: int, size: int, shape: tuple[int, ...], seed: int
) -> None:
    parts = batches(shape, count, size, seed)
    norm, plain = ours(shape).double(), reference(shape).double()
    with torch.no_grad():
        for p, q in zip(norm.parameters(), plain.parameters(), strict=True):
            p.copy_(torch.randn(p.shape, generator=torch.Generator().manual_seed(seed)))
            q.copy_(p)
    norm.eval()
    norm.mode, norm.evaluation_batch = "batch", size
    before = {k: v.clone() for k, v in norm.state_dict().items()}
    found = norm(torch.cat(parts).double())
    wanted = torch.cat([plain(part.double()) for part in parts])
    assert torch.allclose(found, wanted, rtol=0, atol=1e-12)
    assert all(torch.equal(before[k], v) for k, v in norm.state_dict().items())


@settings(max_examples=40, deadline=None)
@given(
    calls=st.lists(st.integers(1, 4), min_size=1, max_size=4), size=st.integers(2, 6),
    shape=st.sampled_from([(3,), (3, 2, 2)]), seed=st.integers(0, 1000),
)  # fmt: skip
def test_collected_statistics_are_those_of_all_batches_together(
    calls: list[int], size: int, shape: tuple[int, ...], seed: int
) -> None:
    norm = ours(shape).double().eval()
    norm.mode, norm.evaluation_batch = "collect", size
    parts = [torch.cat(batches(shape, n, size, seed + i)).double() for i, n in enumerate(calls)]
    norm.start_collecting()
    for part in parts:
        collected = norm(part)
        norm.mode = "batch"
        assert torch.equal(collected, norm(part))
        norm.mode = "collect"
    mean, variance = norm.collected()
    values = torch.cat(parts).transpose(0, 1).reshape(shape[0], -1)
    assert torch.allclose(mean, values.mean(1), rtol=0, atol=1e-12)
    assert torch.allclose(variance, values.var(1, correction=0), rtol=1e-12, atol=1e-12)
    norm.start_collecting()
    norm(parts[0])
    first = parts[0].transpose(0, 1).reshape(shape[0], -1)
    assert torch.allclose(norm.collected()[0], first.mean(1), rtol=0, atol=1e-12)


def test_a_constant_channel_has_no_negative_variance() -> None:
    norm = ours((2,)).eval()
    norm.mode, norm.evaluation_batch = "collect", 4
    norm.start_collecting()
    norm(torch.full((400, 2), 0.1))
    _, variance = norm.collected()
    assert (variance >= 0).all()
    assert (variance < 1e-7).all()


@pytest.mark.parametrize("size", [3, 0, 20])
def test_incomplete_batches_are_refused_in_evaluation(size: int) -> None:
    norm = ours((5,)).eval()
    norm.mode, norm.evaluation_batch = "batch", size
    with pytest.raises(ValueError, match="whole batches"):
        norm(torch.randn(8, 5))


def test_one_value_per_channel_is_refused_in_training() -> None:
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        ours((5,))(torch.randn(1, 5))


def test_training_uses_the_batch_whatever_the_mode_says() -> None:
    norm, plain = ours((5,)), reference((5,))
    norm.mode, norm.evaluation_batch = "batch", 2
    x = batches((5,), 1)[0]
    assert torch.equal(norm(x), plain(x))
    assert torch.equal(norm.running_var, plain.running_var)  # type: ignore[arg-type]


@pytest.mark.parametrize("shape", [(12, 5), (12, 5, 3, 2)])
@pytest.mark.parametrize("ghost", [2, 3, 6])
def test_ghost_batches_are_small_batches_with_shared_parameters(
    shape: tuple[int, ...], ghost: int
) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(shape, generator=generator, dtype=torch.float64)
    module = BatchNorm(5, eps=1e-5, momentum=0.1, affine=True).double()
    module.ghost = ghost
    parts = [nn.BatchNorm1d(5).double() if len(shape) == 2 else nn.BatchNorm2d(5).double()
             for _ in range(12 // ghost)]  # fmt: skip
    expected = torch.cat([p(c) for p, c in zip(parts, x.split(ghost), strict=True)])
    torch.testing.assert_close(module(x), expected, rtol=0, atol=1e-12)
    for name in ("running_mean", "running_var"):
        mean = torch.stack([getattr(p, name) for p in parts]).mean(0)
        torch.testing.assert_close(getattr(module, name), mean, rtol=0, atol=1e-12)


def test_a_ghost_batch_of_the_whole_batch_is_batch_norm() -> None:
    x = torch.randn(8, 4, 3, 3, generator=torch.Generator().manual_seed(1))
    plain, ghost = (BatchNorm(4, eps=1e-5, momentum=0.1, affine=True) for _ in range(2))
    ghost.ghost = 8
    assert torch.equal(plain(x), ghost(x))
    assert torch.equal(plain.running_var, ghost.running_var)
