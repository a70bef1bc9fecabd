"""RMS norm over everything that a sample has at a site (Zhang & Sennrich 2019)."""

from __future__ import annotations

import math

from torch import nn

from normbench.errors import UndefinedError


def build(shape: tuple[int, ...], *, eps: float, affine: bool) -> nn.Module:
    """y = γ·x/√(mean(x²) + ε) with the mean over all of a sample's values.

    ``shape`` is a sample's shape at the site, without the batch: (features,) or (C, H, W). It
    covers the values that ``layer`` covers, and like it has a γ per element, but no mean is taken
    off and there is no shift. ``eps`` is the catalogue's for all norms, where torch's own default
    is the type's rounding unit. Raises :class:`UndefinedError` for a single value, of which only
    the sign would be left. arXiv:1910.07467.
    """
    if math.prod(shape) < 2:
        raise UndefinedError(
            f"RMS norm needs at least two values per sample; a sample has shape {shape} here"
        )
    return nn.RMSNorm(shape, eps=eps, elementwise_affine=affine)
