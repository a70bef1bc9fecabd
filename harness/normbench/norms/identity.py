"""The baseline: no normalization."""

from __future__ import annotations

from torch import nn


def build(shape: tuple[int, ...]) -> nn.Module:
    """y = x, for any shape."""
    del shape
    return nn.Identity()
