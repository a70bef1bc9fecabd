"""The same members twice: as plain modules with autograd, and as a packed net."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from normbench.models.describe import Network, network
from normbench.models.packed import PackedNet
from normbench.models.plain import Net, build, initialise
from normbench.norms.schedule import scheduled, set_step
from tests.builders import cell

DIGITS: tuple[int, ...] = (1, 8, 8)
CNN = {"name": "small-cnn", "width": 8}
ALEXNET = {"name": "alexnet", "width": 0.125}


def described(shape: tuple[int, ...] = DIGITS, classes: int = 10, **axes: Any) -> Network:
    """The network of a small cell."""
    return network(cell(**axes), shape, classes)


def started(made: Net, seed: int) -> Net:
    """A copy of a plain module in float64; norms, too, start with values of their own."""
    plain = copy.deepcopy(made).double()
    initialise(plain, seed, "torch")
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in plain.state_dict().items():
            if "_norm" in name or name.endswith(".g"):
                noise = torch.randn(tensor.shape, generator=generator, dtype=torch.float64)
                tensor.mul_(1 + 0.1 * noise.clamp(-3, 3))
                if name.endswith((".bias", "running_mean")):
                    tensor.add_(noise, alpha=0.1)
    return plain


class Twins:
    """Members ``plain`` and the ``packed`` net that starts equal to them."""

    def __init__(self, net: Network, members: int, variant: str = "", steps: int = 4) -> None:
        self.taken, self.steps = 0, steps
        self.net, self.members = net, members
        self.made = build(net).double()
        self.plain = [started(self.made, seed) for seed in range(members)]
        self.packed = PackedNet(net, members, variant=variant, dtype=torch.float64)
        self.generator = torch.Generator().manual_seed(7)
        for member, plain in enumerate(self.plain):
            self.packed.load(member, plain)
            self.packed.seed_dropout(member, member)

    def batch(self) -> tuple[Tensor, Tensor]:
        """Inputs (members·N, …) with many ties and zeros, and labels (members, N)."""
        count, classes = self.members * self.net.batch_size, self.packed.nodes[-1].after[0]
        x = torch.randn(count, *self.net.shape, generator=self.generator, dtype=torch.float64)
        x = torch.where(x < 0.3, 0.0, (4 * x).round() / 4)
        y = torch.randint(classes, (self.members, self.net.batch_size), generator=self.generator)
        return x, y

    def step(self, rate: float) -> float:
        """A step of plain SGD on both; the largest difference of losses, logits and gradients."""
        self.packed.set_step(self.taken, self.steps)
        set_step(
            [norm for plain in self.plain for norm in scheduled(plain)], self.taken, self.steps
        )
        self.taken += 1
        x, y = self.batch()
        index = torch.randperm(len(x), generator=self.generator)
        resident = self.packed.resident(x[index])
        losses, logits = self.packed.train_items(resident, index.argsort(), y)
        self.packed.flat.sub_(self.packed.flat_gradient, alpha=rate)
        worst = 0.0
        for member, plain in enumerate(self.plain):
            outputs = plain(x.view(self.members, -1, *self.net.shape)[member])
            loss = functional.cross_entropy(outputs, y[member])
            gradients = torch.autograd.grad(loss, list(plain.parameters()))
            with torch.no_grad():
                for parameter, gradient in zip(plain.parameters(), gradients, strict=True):
                    parameter -= rate * gradient
                worst = max(worst, difference(loss, losses[member]))
                worst = max(worst, difference(outputs, logits[member]))
        return worst

    def stored(self, member: int) -> Net:
        """A member of the packed net as a plain module."""
        plain = copy.deepcopy(self.made)
        for tensor in plain.state_dict().values():
            tensor.fill_(torch.nan)
        self.packed.store(member, plain)
        return plain

    def apart(self) -> float:
        """The largest difference of parameters and buffers."""
        return max(
            difference(mine, theirs)
            for member, plain in enumerate(self.plain)
            for mine, theirs in zip(
                self.stored(member).state_dict().values(),
                plain.state_dict().values(),
                strict=True,
            )
        )


def difference(a: Tensor, b: Tensor) -> float:
    """The largest absolute difference; NaN where there is one."""
    if not a.numel():
        return 0.0
    return float((a.detach() - b.detach()).abs().max())


def assert_trained_alike(
    net: Network, members: int, steps: int, variant: str = "", rate: float = 0.02
) -> Twins:
    """Twins after some steps, found equal at each of them."""
    twins = Twins(net, members, variant, steps)
    for step in range(steps):
        assert twins.step(rate) < 1e-9, f"step {step}"
    assert twins.apart() < 1e-9
    return twins
