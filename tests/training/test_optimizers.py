"""SGD against torch.optim.SGD."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from normbench.catalog import OPTIMIZERS
from normbench.training.optimizers import adam, adamw, decay_mask, sgd


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 10)
    )


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("decay", [0.0, 0.01])
@pytest.mark.parametrize("variant", [{"fused": True}, {}], ids=["fused", "default"])
def test_thirty_steps_are_torchs(momentum: float, decay: float, variant: dict[str, Any]) -> None:
    mine, theirs = network(), network()
    ours = sgd(list(mine.parameters()), 0.05, momentum=momentum, weight_decay=decay)
    wanted = torch.optim.SGD(
        theirs.parameters(), 0.05, momentum=momentum, weight_decay=decay, **variant
    )
    generator = torch.Generator().manual_seed(1)
    for _ in range(30):
        x = torch.rand(8, 1, 8, 8, generator=generator)
        y = torch.randint(10, (8,), generator=generator)
        loss = functional.cross_entropy(mine(x), y)
        ours.step(torch.autograd.grad(loss, list(mine.parameters())))
        wanted.zero_grad()
        functional.cross_entropy(theirs(x), y).backward()
        wanted.step()
    start = dict(network().named_parameters())
    for (name, p), q in zip(mine.named_parameters(), theirs.parameters(), strict=True):
        if variant:
            assert torch.equal(p, q), name
        # one kernel rounds once where the other rounds twice
        assert torch.allclose(p, q, rtol=1e-4, atol=1e-5), name
        if name != "0.bias":  # dead before batch norm
            assert not torch.allclose(p, start[name], rtol=1e-3, atol=1e-4), name


def test_the_formula_by_hand() -> None:
    w = torch.tensor([2.0], dtype=torch.float64)
    optimizer = sgd([w], 0.1, momentum=0.5, weight_decay=0.25)
    velocity, wanted = 0.0, 2.0
    for gradient in (1.0, -3.0, 0.5):
        velocity = 0.5 * velocity + gradient + 0.25 * wanted
        wanted -= 0.1 * velocity
        optimizer.step([torch.tensor([gradient], dtype=torch.float64)])
        assert w.item() == pytest.approx(wanted, rel=1e-14)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_gradients_may_lie_in_memory_in_any_order(momentum: float) -> None:
    generator = torch.Generator().manual_seed(0)
    one, other = torch.zeros(3, 4), torch.zeros(3, 4)
    a = sgd([one], 0.1, momentum=momentum, weight_decay=0.0)
    b = sgd([other], 0.1, momentum=momentum, weight_decay=0.0)
    for _ in range(3):
        transposed = torch.randn(4, 3, generator=generator).t()
        a.step([transposed])
        b.step([transposed.clone(memory_format=torch.contiguous_format)])
    a.step([torch.ones(()).expand(3, 4)])
    b.step([torch.ones(3, 4)])
    assert torch.equal(one, other)


def test_gradients_are_not_changed_by_a_step() -> None:
    w = torch.ones(5)
    gradient = torch.arange(5.0)
    optimizer = sgd([w], 0.1, momentum=0.9, weight_decay=0.1)
    for _ in range(3):
        optimizer.step([gradient])
        assert gradient.tolist() == [0, 1, 2, 3, 4]


def test_the_catalogue_builds_it() -> None:
    w = torch.ones(1)
    OPTIMIZERS["sgd"].load()([w], 1.0, momentum=0.0, weight_decay=0.0).step([torch.ones(1)])
    assert w.item() == 0.0


def trained(optimizer: Any, model: nn.Module, steps: int = 30) -> None:
    """Train with one of ours (a function of gradients) or one of torch's."""
    generator = torch.Generator().manual_seed(1)
    parameters = list(model.parameters())
    for _ in range(steps):
        x = torch.rand(8, 1, 8, 8, generator=generator, dtype=torch.float64)
        y = torch.randint(10, (8,), generator=generator)
        loss = functional.cross_entropy(model(x), y)
        if isinstance(optimizer, torch.optim.Optimizer):
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        else:
            optimizer.step(torch.autograd.grad(loss, parameters))


BETAS = {"beta1": 0.8, "beta2": 0.99, "eps": 1e-6}


@pytest.mark.parametrize("decay", [0.0, 0.05])
@pytest.mark.parametrize("all_parameters", [True, False])
@pytest.mark.parametrize("kind", ["nesterov", "adam", "adamw"])
def test_the_others_are_torchs_with_its_parameter_groups(
    kind: str, all_parameters: bool, decay: float
) -> None:
    mine, theirs = network().double(), network().double()
    mask = decay_mask(mine)
    assert mask == [True, False, False, False, True, False]
    extra = {"decay_norms": all_parameters, "decayed": mask, "weight_decay": decay}
    parameters = list(theirs.parameters())
    some = [p for p, on in zip(parameters, mask, strict=True) if on or all_parameters]
    rest = [p for p in parameters if not any(p is q for q in some)]
    groups: Any = [{"params": some, "weight_decay": decay}]
    groups += [{"params": rest, "weight_decay": 0.0}] if rest else []
    if kind == "nesterov":
        ours = sgd(list(mine.parameters()), 0.05, momentum=0.9, nesterov=True, **extra)
        wanted: Any = torch.optim.SGD(groups, 0.05, momentum=0.9, nesterov=True)
    else:
        function = {"adam": adam, "adamw": adamw}[kind]
        ours = function(list(mine.parameters()), 0.01, **BETAS, **extra)
        family = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[kind]
        wanted = family(groups, 0.01, betas=(0.8, 0.99), eps=1e-6)
    trained(ours, mine)
    trained(wanted, theirs)
    for (name, p), q in zip(mine.named_parameters(), theirs.named_parameters(), strict=True):
        if name != "0.bias":  # dead before batch norm: Adam walks on its rounding
            torch.testing.assert_close(p, q[1], rtol=1e-9, atol=1e-10, msg=name)


def test_decay_spares_norms_biases_and_the_scale_of_weight_norm() -> None:
    from normbench.norms.weight import WeightNormed

    model = nn.Sequential(WeightNormed(nn.Linear(3, 2)), nn.LayerNorm((2, 2)), nn.Linear(2, 2))
    names = [name for name, _ in model.named_parameters()]
    marked = [name for name, on in zip(names, decay_mask(model), strict=True) if on]
    assert marked == ["0.v", "2.weight"]
