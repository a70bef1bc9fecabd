"""Dropout whose masks are part of a run's random streams."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from normbench.plan.seeds import stream_key


class StreamDropout(nn.Module):
    """Dropout that draws its masks from a generator of its own, named by seed and layer.

    Where ``draws`` are set, numbers between 0 and 1 in the inputs' shape, they take the place of
    what the generator would give: where several runs are one function, it has none of its own.
    """

    def __init__(self, name: str, p: float) -> None:
        super().__init__()
        self.name, self.p = name, p
        self.generator: torch.Generator | None = None
        self.draws: Tensor | None = None

    def seed(self, seed: int, device: torch.device) -> None:
        """Start the stream of masks of this run."""
        self.generator = torch.Generator(device).manual_seed(stream_key(seed, "dropout", self.name))

    def forward(self, x: Tensor) -> Tensor:
        """Zero each value with probability p in training, and scale the rest by 1/(1 − p)."""
        if not self.training or self.p == 0:
            return x
        draws = self.draws
        if draws is None:
            place = x.device if self.generator is None else self.generator.device
            draws = torch.rand(x.shape, generator=self.generator, device=place)
        keep = draws.to(x.device) >= self.p
        return x * keep / (1 - self.p)
