"""Landscape and longest step on functions with closed forms, and on nets by hand."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from normbench.training.probes.landscape import FACTORS, landscape
from normbench.training.probes.max_step import longest_step, max_step
from tests.training.probes.nets import (
    context_of,
    plain_gradients,
    plain_loss,
    quadratic,
    read,
    some_norms,
    tiny,
    twin,
)

A = torch.tensor([[2.0, 0.5, 0.0], [0.5, 1.0, 0.3], [0.0, 0.3, 4.0]], dtype=torch.float64)
W = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)


def test_a_quadratic_has_these_values() -> None:
    rate = 0.1
    found = read(landscape, quadratic(A, W, learning_rate=rate))
    g = A @ W
    losses = [float(0.5 * (W - a * rate * g) @ A @ (W - a * rate * g)) for a in FACTORS]
    change = float((A @ g).norm())
    assert found["loss-variation", ""] == pytest.approx(max(losses) - min(losses))
    assert found["gradient-predictiveness", ""] == pytest.approx(4 * rate * change)
    assert found["gradient-predictiveness-range", ""] == pytest.approx(3.5 * rate * change)
    assert found["effective-smoothness", ""] == pytest.approx(change / float(g.norm()))
    assert found["rate-smoothness", ""] == pytest.approx(rate * change / float(g.norm()))
    ahead = [g - a * rate * (A @ g) for a in FACTORS]
    cosines = [float(g @ h / (g.norm() * h.norm())) for h in ahead]
    assert found["gradient-predictiveness-cosine", ""] == pytest.approx(min(cosines))


@pytest.mark.parametrize("norm", some_norms("none", "batch"))
def test_a_net_by_copies_and_backward(norm: str) -> None:
    """The same from copies of the model that are moved by hand, batch by batch."""
    context = context_of(tiny(norm))
    variations, slopes = [], []
    for number in range(3):
        gradient = plain_gradients(context, context.model, number)
        g = torch.cat([x.flatten() for x in gradient.values()])
        losses, betas = [], []
        for factor in (0.5, 1.0, 2.0, 4.0):
            model = twin(context.model)
            with torch.no_grad():
                for name, parameter in model.named_parameters():
                    parameter.sub_(factor * 0.1 * gradient[name])
            there = plain_gradients(context, twin(model), number)
            losses.append(plain_loss(context, model, number).item())
            change = torch.cat([x.flatten() for x in there.values()]) - g
            betas.append(float(change.norm() / (factor * 0.1 * g.norm())))
        variations.append(max(losses) - min(losses))
        slopes.append(max(betas))
    found = read(landscape, context)
    assert found["loss-variation", ""] == pytest.approx(sum(variations) / 3, rel=1e-9)
    assert found["effective-smoothness", ""] == pytest.approx(sum(slopes) / 3, rel=1e-9)


def test_no_smoothness_without_a_step() -> None:
    found = read(landscape, quadratic(A, W, learning_rate=0.0))
    assert ("effective-smoothness", "") not in found
    assert found["loss-variation", ""] == 0.0


@pytest.mark.parametrize("rate", [1e-4, 0.1, 50.0])
def test_the_longest_step_on_a_quadratic(rate: float) -> None:
    g = A @ W
    expected = float(2 * (g @ g) / (g @ A @ g))
    found = read(max_step, quadratic(A, W, learning_rate=rate))
    assert 0.989 * expected <= found["max-step", ""] <= expected
    assert found["max-step-ratio", ""] == pytest.approx(found["max-step", ""] / rate)


@pytest.mark.parametrize("norm", some_norms("none", "batch"))
def test_a_step_a_little_longer_goes_up(norm: str) -> None:
    context = context_of(tiny(norm))
    longest = read(max_step, context)["max-step", ""]
    gradient = plain_gradients(context, context.model)
    start = plain_loss(context, twin(context.model)).item()

    def loss_after(step: float) -> float:
        model = twin(context.model)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                parameter.sub_(step * gradient[name])
        return plain_loss(context, model).item()

    assert loss_after(longest) < start
    if longest < 0.1 * 2**20:  # else every step goes down
        assert loss_after(1.0001 * 2 ** (1 / 64) * longest) >= start


def test_a_loss_that_falls_for_ever_and_one_that_is_flat() -> None:
    falling = quadratic(-A, W, learning_rate=0.5)
    assert read(max_step, falling)["max-step-ratio", ""] == 2.0**20
    assert read(max_step, quadratic(A, torch.zeros_like(W))) == {}
    assert read(max_step, quadratic(A, W, learning_rate=0.0)) == {}


@given(st.floats(-4, 4), st.floats(-4, 4))
def test_the_search_brackets_the_crossing(crossing: float, start: float) -> None:
    edge = 10.0**crossing
    found = longest_step(lambda step: step < edge, 10.0**start)
    exponent = abs(torch.log2(torch.tensor(10.0 ** (crossing - start))).item())
    if exponent < 20:
        assert found < edge <= found * 1.0111
    elif crossing < start:
        assert found == 0.0
    else:
        assert found == 10.0**start * 2**20
