"""Dynamic erf (Chen et al. 2025): dynamic tanh's successor, a shifted error function."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class DynamicErf(nn.Module):
    """y = γ·erf(α·x + s) + β with one learned α and one learned shift s, and γ and β per channel.

    erf(x) = 2/√π·∫₀ˣ exp(−t²) dt. Inputs have shape (N, C) or (N, C, H, W); α and s have shape
    (1,), γ and β have shape (C,). arXiv:2512.10938.
    """

    def __init__(self, channels: int, *, alpha: float, shift: float, affine: bool) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.full((1,), alpha))
        self.shift = nn.Parameter(torch.full((1,), shift))
        self.weight = nn.Parameter(torch.ones(channels)) if affine else None
        self.bias = nn.Parameter(torch.zeros(channels)) if affine else None

    def forward(self, x: Tensor) -> Tensor:
        """Squash each value on its own."""
        y = torch.erf(self.alpha * x + self.shift)
        if self.weight is None or self.bias is None:
            return y
        shape = (1, -1, *([1] * (x.dim() - 2)))
        return self.weight.reshape(shape) * y + self.bias.reshape(shape)


def build(shape: tuple[int, ...], *, alpha: float, shift: float, affine: bool) -> nn.Module:
    """The layer for samples of ``shape`` (features,) or (C, H, W), with the initial α and s."""
    return DynamicErf(shape[0], alpha=alpha, shift=shift, affine=affine)
