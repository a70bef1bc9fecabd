"""Batch norm over time against torch's own layer, step by step."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from normbench.catalog import NORMS
from normbench.errors import UndefinedError, UsageError
from normbench.norms.batch import build
from normbench.norms.sequence import PerStep, build_sequence_norm
from normbench.norms.time_batch import TimeBatchNorm

C, N = 5, 12


def norm(time: str = "per-step", steps: int = 3, **changed: Any) -> TimeBatchNorm:
    kept: dict[str, Any] = {
        "eps": 1e-3, "momentum": 0.3, "affine": True, "gamma": 0.1, "shift": True,
    }  # fmt: skip
    found = TimeBatchNorm(C, steps=steps, time=time, **(kept | changed)).double()  # type: ignore[arg-type]
    with torch.no_grad():
        for parameter in found.parameters():
            parameter.copy_(torch.linspace(0.2, 1.4, C))
    return found


def theirs(mine: TimeBatchNorm) -> nn.BatchNorm1d:
    found = nn.BatchNorm1d(C, eps=mine.eps, momentum=mine.momentum).double()
    with torch.no_grad():
        found.weight.copy_(mine.weight)  # type: ignore[arg-type]
        found.bias.copy_(mine.bias)  # type: ignore[arg-type]
    return found


def batches(count: int, steps: int = 3, samples: int = N, seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    drift = torch.arange(1.0, steps + 1).double()[:, None, None]
    shape = (steps, samples, C)
    return [
        drift * torch.randn(shape, generator=generator, dtype=torch.float64) + drift
        for _ in range(count)
    ]


def assert_close(a: Tensor, b: Tensor) -> None:
    torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


@pytest.mark.parametrize("time", ["per-step", "pooled"])
def test_with_one_step_it_is_torchs_batch_norm(time: str) -> None:
    mine = norm(time, steps=1)
    stepped, twin = norm(time, steps=1), theirs(mine)
    for x in batches(4, steps=1):
        a, b = x.clone().requires_grad_(), x[0].clone().requires_grad_()
        y, wanted = mine.sequence(a), twin(b)
        assert_close(y[0], wanted)
        assert_close(stepped.step(x[0], 0), wanted)
        stepped.finish()
        weights = torch.linspace(-1, 1, y.numel(), dtype=torch.float64).view(N, C)
        mine_gradients = torch.autograd.grad((y[0] * weights).sum(), [a, *mine.parameters()])
        their_gradients = torch.autograd.grad((wanted * weights).sum(), [b, *twin.parameters()])
        assert_close(mine_gradients[0][0], their_gradients[0])
        for p, q in zip(mine_gradients[1:], their_gradients[1:], strict=True):
            assert_close(p, q)
        for one in (mine, stepped):
            assert_close(one.running_mean[0], twin.running_mean)  # type: ignore[arg-type]
            assert_close(one.running_var[0], twin.running_var)  # type: ignore[arg-type]
    x = batches(1, steps=1, seed=5)[0]
    assert_close(mine.eval().sequence(x)[0], twin.eval()(x[0]))


@pytest.mark.parametrize("at_once", [True, False])
def test_each_step_has_running_statistics_of_its_own(at_once: bool) -> None:
    """The silent failure of per-step statistics: that one of a buffer's slices stays as it was."""
    mine = norm()
    twins = [theirs(mine) for _ in range(3)]
    for x in batches(5):
        wanted = torch.stack([twin(part) for twin, part in zip(twins, x, strict=True)])
        y = mine.sequence(x) if at_once else torch.stack([mine.step(x[t], t) for t in range(3)])
        mine.finish()
        assert_close(y, wanted)
    for t, twin in enumerate(twins):
        assert_close(mine.running_mean[t], twin.running_mean)  # type: ignore[arg-type]
        assert_close(mine.running_var[t], twin.running_var)  # type: ignore[arg-type]
    assert len({tuple(row.tolist()) for row in mine.running_mean}) == 3
    mine.eval()
    x = batches(1, seed=3)[0]
    wanted = torch.stack([twin.eval()(part) for twin, part in zip(twins, x, strict=True)])
    assert_close(mine.sequence(x), wanted)
    for t in range(3):
        assert_close(mine.step(x[t], t), wanted[t])


def test_steps_past_the_last_use_its_running_statistics() -> None:
    mine = norm(steps=3)
    for x in batches(3):
        mine.sequence(x)
    mine.eval()
    x = batches(1, steps=7)[0]
    y = mine.sequence(x)
    for t in range(7):
        assert_close(y[t], mine.step(x[t], min(t, 2)))
        assert_close(y[t], mine.step(x[t], t))


def test_pooled_statistics_of_a_whole_sequence_are_over_batch_and_time() -> None:
    mine = norm("pooled")
    twin = theirs(mine)
    for x in batches(4):
        assert_close(mine.sequence(x).flatten(0, 1), twin(x.flatten(0, 1)))
        assert_close(mine.running_mean[0], twin.running_mean)  # type: ignore[arg-type]
        assert_close(mine.running_var[0], twin.running_var)  # type: ignore[arg-type]
    x = batches(1, steps=6)[0]
    assert_close(mine.eval().sequence(x).flatten(0, 1), twin.eval()(x.flatten(0, 1)))


def test_pooled_steps_are_normalized_one_by_one_and_share_running_statistics() -> None:
    mine = norm("pooled", momentum=1.0)
    twin = theirs(mine)
    x = batches(1)[0]
    for t in range(3):
        assert_close(mine.step(x[t], t), twin(x[t]))
    assert not mine.running_mean.any()
    mine.finish()
    values = x.flatten(0, 1)
    assert_close(mine.running_mean[0], values.mean(0))
    # within steps (unbiased, as torch keeps it) and between their means
    within, between = x.var(1).mean(0), x.mean(1).var(0, correction=0)
    assert_close(mine.running_var[0], within + between)
    mine.finish()
    assert_close(mine.running_mean[0], values.mean(0))


@settings(max_examples=30, deadline=None)
@given(
    time=st.sampled_from(["per-step", "pooled"]), at_once=st.booleans(),
    size=st.sampled_from([2, 3, 4, 6, 12]), calls=st.integers(1, 3), seed=st.integers(0, 99),
)  # fmt: skip
def test_collected_statistics_are_those_of_all_batches(
    time: str, at_once: bool, size: int, calls: int, seed: int
) -> None:
    mine, trained = norm(time), norm(time)
    mine.eval()
    mine.mode, mine.evaluation_batch = "collect", size
    mine.start_collecting()
    seen = batches(calls, seed=seed)
    for x in seen:
        y = mine.sequence(x) if at_once else torch.stack([mine.step(x[t], t) for t in range(3)])
        for start in range(0, N, size):
            part = x[:, start : start + size]
            wanted = (
                trained.sequence(part)
                if at_once
                else torch.stack([trained.step(part[t], t) for t in range(3)])
            )
            assert_close(y[:, start : start + size], wanted)
    mean, variance = mine.collected()
    values = torch.cat(seen, dim=1)
    if time == "pooled":
        values = values.flatten(0, 1)[None]
    torch.testing.assert_close(mean, values.mean(1), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(variance, values.var(1, correction=0), rtol=1e-10, atol=1e-10)
    assert not mine.running_mean.any()


def held(mine: TimeBatchNorm) -> int:
    """The numbers in all tensors that a norm holds, in lists too."""
    found, waiting = 0, list(vars(mine).values())
    while waiting:
        one = waiting.pop()
        if isinstance(one, Tensor):
            found += one.numel()
        elif isinstance(one, list | tuple):
            waiting += one
        elif isinstance(one, dict):
            waiting += one.values()
    return found


@pytest.mark.parametrize("time", ["per-step", "pooled"])
def test_collecting_holds_no_more_for_many_batches_than_for_one(time: str) -> None:
    mine = norm(time).eval()
    before = held(mine)
    mine.mode, mine.evaluation_batch = "collect", N
    mine.start_collecting()
    for t, x in enumerate(batches(1)[0]):
        mine.step(x, t)
    once = held(mine)
    assert once > before  # the moments, which are what must not grow
    for sequence in batches(9):
        for t, x in enumerate(sequence):
            mine.step(x, t)
    assert held(mine) == once
    mine.collected()
    assert held(mine) == before


@pytest.mark.parametrize("time", ["per-step", "pooled"])
def test_ghost_batches_are_small_batches(time: str) -> None:
    ghost, small = norm(time), norm(time)
    ghost.ghost = 4
    x = batches(1)[0]
    assert_close(ghost.sequence(x), torch.cat([small.sequence(part) for part in x.split(4, 1)], 1))
    y = torch.stack([ghost.step(x[t], t) for t in range(3)])
    ghost.finish()
    wanted = [torch.stack([small.step(p[t], t) for t in range(3)]) for p in x.split(4, 1)]
    assert_close(y, torch.cat(wanted, 1))


def test_pooled_ghost_batches_move_the_running_statistics_by_their_mean() -> None:
    mine, parts = norm("pooled", momentum=1.0), [norm("pooled", momentum=1.0) for _ in range(3)]
    mine.ghost = 4
    x = batches(1)[0] + torch.arange(N).view(1, N, 1)  # ghost batches far from each other
    for t in range(3):
        mine.step(x[t], t)
        for part, own in zip(parts, x[t].split(4), strict=True):
            part.step(own, t)
    for one in (mine, *parts):
        one.finish()
    for name in ("running_mean", "running_var"):
        wanted = torch.stack([getattr(part, name) for part in parts]).mean(0)
        assert_close(getattr(mine, name), wanted)


def test_a_ghost_batch_of_the_whole_batch_is_batch_norm() -> None:
    plain, ghost = norm(), norm()
    ghost.ghost = N
    x = batches(1)[0]
    assert torch.equal(plain.sequence(x), ghost.sequence(x))
    assert torch.equal(plain.running_var, ghost.running_var)


def test_incomplete_batches_are_refused() -> None:
    mine = norm().eval()
    mine.mode, mine.evaluation_batch = "batch", 5
    with pytest.raises(ValueError, match="whole batches of 5 samples; received 12"):
        mine.sequence(batches(1)[0])


# -- what stands at a site ---------------------------------------------------------------------


def params(name: str, **changed: Any) -> dict[str, Any]:
    return {k: p.default for k, p in NORMS[name].params.items()} | changed


def at(name: str, site: str = "hidden", batch_size: int = 4, **changed: Any) -> Any:
    return build_sequence_norm(
        name, params(name, **changed), [6, 3], site=site, steps=7, batch_size=batch_size
    )


def test_batch_norm_starts_at_a_tenth_and_shifts_the_cell_alone() -> None:
    for site in ("input", "hidden", "cell"):
        found = at("batch", site)
        assert isinstance(found, TimeBatchNorm)
        assert found.weight is not None
        assert found.weight.tolist() == pytest.approx([0.1] * 9)
        assert (found.bias is not None) == (site == "cell")
        assert found.running_mean.shape == found.running_var.shape == (7, 9)
    assert at("batch", time="pooled").running_mean.shape == (1, 9)
    assert at("batch", gamma=1.0).weight.tolist() == [1.0] * 9
    assert at("batch", affine=False).weight is None


def test_layer_norm_normalizes_blocks_on_their_own() -> None:
    found = at("layer", affine=False).double()
    assert isinstance(found, PerStep)
    x = batches(1)[0].repeat(1, 1, 2)[..., :9]
    blocks = [nn.functional.layer_norm(p, p.shape[-1:]) for p in x.split([6, 3], -1)]
    assert_close(found.sequence(x), torch.cat(blocks, -1))
    assert_close(found.step(x[1], 1), torch.cat(blocks, -1)[1])


def test_a_single_sample_has_no_statistics_per_step() -> None:
    for site, time in (("hidden", "per-step"), ("hidden", "pooled"), ("input", "per-step")):
        with pytest.raises(UndefinedError, match="batch size 1 gives one at each step"):
            at("batch", site, batch_size=1, time=time)
    assert isinstance(at("batch", "input", batch_size=1, time="pooled"), TimeBatchNorm)


@pytest.mark.parametrize("name", ["weight"])
def test_norms_without_a_recurrent_form_are_named(name: str) -> None:
    with pytest.raises(UsageError, match=f"the norm {name} has no form for recurrent nets"):
        at(name)


@pytest.mark.parametrize("changed", [{"time": "pooled"}, {"gamma": 1.0}])
def test_parameters_for_recurrent_nets_are_refused_elsewhere(changed: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="are for the models lstm, gru and rnn"):
        build((4,), batch_size=8, **params("batch", **changed))
