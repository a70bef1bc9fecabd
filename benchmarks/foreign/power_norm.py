"""A norm of another package, for the benchmarks: each sample by its root mean square."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from normbench.catalog import BATCH_INDEPENDENT, Entry


class PowerNorm(nn.Module):
    """y = γ·x/√(mean(x²) + ε) + β, the mean over all but the batch; γ and β per channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        power = x.square().mean(tuple(range(1, x.dim())), keepdim=True)
        shape = (1, -1, *([1] * (x.dim() - 2)))
        return x * (power + 1e-5).rsqrt() * self.weight.view(shape) + self.bias.view(shape)


ENTRY = Entry(
    "power_norm:build", "root mean square of a sample", traits=frozenset({BATCH_INDEPENDENT})
)


def build(shape: tuple[int, ...]) -> nn.Module:
    return PowerNorm(shape[0])
