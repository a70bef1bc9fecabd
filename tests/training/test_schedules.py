"""Learning-rate schedules, against torch's own schedulers and by hand."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler, MultiStepLR, PolynomialLR

from normbench.catalog import SCHEDULES


def factors(name: str, steps: int, **params: float) -> list[float]:
    function = SCHEDULES[name].load()
    defaults = {key: param.default for key, param in SCHEDULES[name].params.items()}
    return [function(step, steps, **(defaults | params)) for step in range(steps)]


def torch_factors(kind: type[LRScheduler], steps: int, **settings: object) -> list[float]:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = kind(optimizer, **settings)  # type: ignore[arg-type]
    found = []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


def test_cosine_is_torchs() -> None:
    expected = torch_factors(CosineAnnealingLR, 20, T_max=20, eta_min=0.1)
    assert factors("cosine", 20, final=0.1) == pytest.approx(expected)


def test_linear_is_torchs() -> None:
    expected = torch_factors(PolynomialLR, 20, total_iters=20, power=1.0)
    assert factors("linear", 20) == pytest.approx(expected)


def test_step_is_torchs() -> None:
    expected = torch_factors(MultiStepLR, 30, milestones=[10, 20], gamma=0.5)
    assert factors("step", 30, drops=2, factor=0.5) == pytest.approx(expected)


@pytest.mark.parametrize("name", list(SCHEDULES))
def test_the_rate_rises_linearly_in_the_warm_up(name: str) -> None:
    found = factors(name, 10, warmup=0.4)
    assert found[:5] == pytest.approx([0.25, 0.5, 0.75, 1.0, 1.0])


@pytest.mark.parametrize("name", list(SCHEDULES))
@given(steps=st.integers(1, 200), warmup=st.floats(0, 0.9))
def test_a_factor_is_positive_and_at_most_one_and_never_rises_again(
    name: str, steps: int, warmup: float
) -> None:
    found = factors(name, steps, warmup=warmup)
    assert len(found) == steps
    assert all(0 < f <= 1 for f in found)
    after = found[round(warmup * steps) :]
    assert after == sorted(after, reverse=True)
