"""Dynamic tanh (Zhu et al. 2025): a squashing function in place of a norm."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class DynamicTanh(nn.Module):
    """y = γ·tanh(α·x) + β with one learned α, and γ and β per channel.

    Inputs have shape (N, C) or (N, C, H, W); α has shape (1,), γ and β have shape (C,). It was made
    for Transformers, where channels come last. arXiv:2503.10622.
    """

    def __init__(self, channels: int, *, alpha: float, affine: bool) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.full((1,), alpha))
        self.weight = nn.Parameter(torch.ones(channels)) if affine else None
        self.bias = nn.Parameter(torch.zeros(channels)) if affine else None

    def forward(self, x: Tensor) -> Tensor:
        """Squash each value on its own."""
        y = torch.tanh(self.alpha * x)
        if self.weight is None or self.bias is None:
            return y
        shape = (1, -1, *([1] * (x.dim() - 2)))
        return self.weight.reshape(shape) * y + self.bias.reshape(shape)


def build(shape: tuple[int, ...], *, alpha: float, affine: bool) -> nn.Module:
    """The layer for samples of ``shape`` (features,) or (C, H, W); ``alpha`` is the initial α."""
    return DynamicTanh(shape[0], alpha=alpha, affine=affine)
