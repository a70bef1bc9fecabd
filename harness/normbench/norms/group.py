"""Group norm (Wu & He 2018)."""

from __future__ import annotations

import math

from torch import nn

from normbench.errors import UndefinedError, UsageError


def build(shape: tuple[int, ...], *, groups: int, eps: float, affine: bool) -> nn.Module:
    """y = γ·(x − μ)/√(σ² + ε) + β with μ and the biased σ² over C/G channels and all positions.

    ``shape`` is a sample's shape at the site: (features,) or (C, H, W); γ and β are per
    channel. One group is layer norm with a scale per channel; as many groups as channels is
    instance norm. Raises :class:`UsageError` where the groups do not divide the channels and
    :class:`UndefinedError` where a group would hold a single value, of which nothing would be
    left. arXiv:1803.08494.
    """
    channels = shape[0]
    if channels % groups:
        divisors = [str(g) for g in range(1, channels + 1) if channels % g == 0]
        raise UsageError(
            f"group norm needs groups that divide the channels: {groups} groups do not divide "
            f"{channels} channels; use one of {', '.join(divisors)}"
        )
    if math.prod(shape) == groups:
        raise UndefinedError(
            f"group norm needs at least two values per group; {groups} groups of a sample of "
            f"shape {shape} hold one each"
        )
    return nn.GroupNorm(groups, channels, eps=eps, affine=affine)
