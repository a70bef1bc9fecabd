"""Networks as people write them; tests name them as targets."""

from __future__ import annotations

import random

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional


class Small(nn.Sequential):
    """Two convolutions without bias, as batch norm follows, and a linear layer."""

    def __init__(self, num_classes: int = 10, eps: float = 1e-5, momentum: float | None = 0.1):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 8, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(8, eps=eps, momentum=momentum)
        self.act1 = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(8, 12, 3, stride=2, padding=1, groups=4, bias=False)
        self.bn2 = nn.BatchNorm2d(12, eps=eps, momentum=momentum)
        self.act2 = nn.ReLU(inplace=True)
        self.flat = nn.Flatten()
        self.fc = nn.LazyLinear(num_classes)


class Dropping(Small):
    """The same with dropout before the last layer."""

    def __init__(self, num_classes: int = 10):
        super().__init__(num_classes)
        self.fc = nn.Sequential(nn.Dropout(0.5), nn.LazyLinear(num_classes))


class Drawing(Small):
    """The same with noise of its own, from all generators that there are."""

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            x = x + 0.1 * torch.randn_like(x) * random.random() * float(np.random.random())
        return super().forward(x)


class Preactivated(nn.Module):
    """A residual block whose activation works in place behind the norm."""

    def __init__(self, num_classes: int = 10):
        super().__init__()
        self.norm = nn.BatchNorm2d(1)
        self.relu = nn.ReLU(inplace=True)
        self.conv = nn.Conv2d(1, 1, 3, padding=1)
        self.fc = nn.Linear(64, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc((x + self.conv(self.relu(self.norm(x)))).flatten(1))


class Loose(Small):
    """A norm that no module holds, called twice."""

    def forward(self, x: Tensor) -> Tensor:
        x = functional.layer_norm(x, x.shape[1:])
        return super().forward(functional.layer_norm(x, x.shape[1:]))


class Shared(nn.Module):
    """One norm in two places, and a second output."""

    def __init__(self, num_classes: int = 10):
        super().__init__()
        self.a, self.b = nn.Conv2d(1, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.first = nn.BatchNorm2d(8)
        self.second = self.first
        self.head, self.aside = nn.Linear(512, num_classes), nn.Linear(512, 3)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.second(self.b(self.first(self.a(x)))).flatten(1)
        return self.head(x), self.aside(x)


class Tokens(nn.Module):
    """Rows of an image as tokens, with attention and layer norm over the last dimension."""

    def __init__(self, num_classes: int = 10, depth: int = 1):
        super().__init__()
        self.embed = nn.Linear(8, 16)
        layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, depth, enable_nested_tensor=False)
        self.head = nn.Linear(16, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.encoder(self.embed(x[:, 0])).mean(1))


class Changed(nn.BatchNorm2d):
    """A subclass that computes something else."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * 2


def with_changed(num_classes: int = 10) -> nn.Module:
    net = Small(num_classes)
    net.bn2 = Changed(12)
    return net


def one_dimensional(num_classes: int = 10) -> nn.Module:
    """Batch norm of vectors and of sequences."""
    return nn.Sequential(
        nn.Flatten(1, 2),
        nn.Conv1d(8, 6, 3, padding=1, bias=False),
        nn.BatchNorm1d(6),
        nn.Flatten(),
        nn.Linear(48, 12, bias=False),
        nn.BatchNorm1d(12),
        nn.ReLU(),
        nn.Linear(12, num_classes),
    )


def given(num_classes: int = 10, norm_layer: type[nn.Module] = nn.BatchNorm2d) -> nn.Module:
    """A factory that takes a norm layer, as torchvision's do."""
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1, bias=False),
        norm_layer(8),
        nn.ReLU(inplace=True),
        nn.BatchNorm2d(8),
        nn.Flatten(),
        nn.Linear(512, num_classes),
    )


def no_module() -> int:
    return 3
