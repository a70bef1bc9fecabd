"""(a) and (a′): the training script that a good PyTorch user writes. Nothing of normbench in it."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import weight_norm
from torch.utils.data import DataLoader, TensorDataset

GROUPS = 8


def norm_after(kind: str, channels: int, size: int) -> list[nn.Module]:
    """The norm behind a convolution with this many channels of size × size pixels."""
    match kind:
        case "batch":
            return [nn.BatchNorm2d(channels)]
        case "layer":
            return [nn.LayerNorm([channels, size, size])]
        case "group":
            return [nn.GroupNorm(GROUPS, channels)]
        case "instance":
            return [nn.InstanceNorm2d(channels, affine=True)]
        case _:
            return []


def conv(kind: str, *sizes: int, **more: int) -> nn.Module:
    """A convolution, weight-normalized where that is the norm."""
    layer = nn.Conv2d(*sizes, **more)
    return weight_norm(layer) if kind == "weight" else layer


def small_cnn(kind: str) -> nn.Sequential:
    """Two convolutions with a norm each, for 8×8 digits."""
    return nn.Sequential(
        conv(kind, 1, 16, 3, padding=1), *norm_after(kind, 16, 8), nn.ReLU(), nn.MaxPool2d(2),
        conv(kind, 16, 32, 3, padding=1), *norm_after(kind, 32, 4), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(128, 10),
    )  # fmt: skip


def alexnet(kind: str, dropout: float = 0.5) -> nn.Sequential:
    """A quarter of AlexNet's width for 64×64 images, norms behind the first two convolutions."""
    return nn.Sequential(
        conv(kind, 3, 16, 5, stride=2, padding=2), *norm_after(kind, 16, 32), nn.ReLU(),
        nn.MaxPool2d(3, 2),
        conv(kind, 16, 48, 5, padding=2), *norm_after(kind, 48, 15), nn.ReLU(), nn.MaxPool2d(3, 2),
        nn.Conv2d(48, 96, 3, padding=1), nn.ReLU(),
        nn.Conv2d(96, 64, 3, padding=1), nn.ReLU(),
        nn.Conv2d(64, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, 2),
        nn.Flatten(),
        nn.Dropout(dropout), nn.Linear(576, 256), nn.ReLU(),
        nn.Dropout(dropout), nn.Linear(256, 256), nn.ReLU(),
        nn.Linear(256, 2),
    )  # fmt: skip


def network(model: str, kind: str, dropout: float = 0.5) -> nn.Sequential:
    """The model by name, ready to train."""
    return small_cnn(kind) if model == "digits" else alexnet(kind, dropout)


def epochs_of_loader(x: Tensor, y: Tensor, batch: int) -> Iterator[tuple[Tensor, Tensor]]:
    """(a): shuffled batches of a DataLoader, epoch after epoch."""
    loader = DataLoader(TensorDataset(x, y), batch_size=batch, shuffle=True, drop_last=True)
    while True:
        yield from loader


def epochs_of_indices(x: Tensor, y: Tensor, batch: int) -> Iterator[tuple[Tensor, Tensor]]:
    """(a′): the same by indexing the tensors."""
    while True:
        order = torch.randperm(len(y))
        for i in range(0, len(y) - batch + 1, batch):
            index = order[i : i + batch]
            yield x[index], y[index]


class Training:
    """A seed's network, optimizer and batches; ``fused`` is (a′), otherwise (a)."""

    def __init__(
        self, net: nn.Sequential, batches: Iterator[tuple[Tensor, Tensor]], lr: float, fused: bool
    ) -> None:
        self.net, self.batches = net.train(), batches
        self.optimizer = (
            torch.optim.SGD(net.parameters(), lr=lr, momentum=0.9, fused=True)
            if fused
            else torch.optim.SGD(net.parameters(), lr=lr, momentum=0.9)
        )

    def run(self, steps: int) -> Tensor:
        """Train; returns the last loss."""
        loss = torch.empty(0)
        for _ in range(steps):
            x, y = next(self.batches)
            self.optimizer.zero_grad()
            loss = functional.cross_entropy(self.net(x), y)
            loss.backward()
            self.optimizer.step()
        return loss.detach()
