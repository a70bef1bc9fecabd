"""Layer norm over everything that a sample has at a site (Ba, Kiros & Hinton 2016)."""

from __future__ import annotations

import math

from torch import nn

from normbench.errors import UndefinedError


def build(shape: tuple[int, ...], *, eps: float, affine: bool) -> nn.Module:
    """y = γ·(x − μ)/√(σ² + ε) + β with μ and the biased σ² over all of a sample's values.

    ``shape`` is a sample's shape at the site, without the batch: (features,) or (C, H, W). γ
    and β have one value **per element**, as in ``torch.nn.LayerNorm(shape)`` and in the
    textbook's AlexNet, which is many parameters on large feature maps; ``group`` with one group
    normalizes over the same values with a γ and a β per channel. Raises
    :class:`UndefinedError` for a single value, of which nothing would be left.
    arXiv:1607.06450.
    """
    if math.prod(shape) < 2:
        raise UndefinedError(
            f"layer norm needs at least two values per sample; a sample has shape {shape} here"
        )
    return nn.LayerNorm(shape, eps=eps, elementwise_affine=affine)
