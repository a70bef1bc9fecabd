"""What stands around a norm in a network of the user's own."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn


class Apart(nn.Module):
    """y = x in memory of its own: no norm, before an activation that may work in place.

    An identity would let that activation change what else reads x, as a residual connection does.
    """

    def forward(self, x: Tensor) -> Tensor:
        """A copy."""
        return x.clone()


class ChannelsLast(nn.Module):
    """A norm of samples with the channels first, where they are last: (N, …, C)."""

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:
        """Normalize ``x`` as (N, C, …), and turn it back."""
        found: Tensor = self.norm(x.movedim(-1, 1))
        return found.movedim(1, -1)


class Fused(nn.Module):
    """A norm, and what the layer that it replaces does behind it: dropping and activation."""

    def __init__(self, norm: nn.Module, then: Sequence[nn.Module]) -> None:
        super().__init__()
        self.norm, self.then = norm, nn.ModuleList(then)

    def forward(self, x: Tensor) -> Tensor:
        """Normalize, then activate."""
        x = self.norm(x)
        for module in self.then:
            x = module(x)
        return x
