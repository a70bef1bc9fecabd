"""Instance norm (Ulyanov, Vedaldi & Lempitsky 2016)."""

from __future__ import annotations

from torch import nn

from normbench.errors import UndefinedError


def build(shape: tuple[int, ...], *, eps: float, affine: bool) -> nn.Module:
    """y = γ·(x − μ)/√(σ² + ε) + β with μ and the biased σ² over a channel's positions.

    ``shape`` is (C, L), (C, H, W) or (C, D, H, W); γ and β are per channel. It keeps no
    running statistics: training and evaluation compute the same function. On a vector
    each feature is its own and only value, so that nothing would be left of it: raises
    :class:`UndefinedError` there, where torch's own layer would silently take the batch for a
    channel axis. arXiv:1607.08022.
    """
    positions = 1
    for size in shape[1:]:
        positions *= size
    if positions < 2:
        raise UndefinedError(
            "instance norm needs at least two positions per channel; "
            f"a sample has shape {shape} here"
        )
    by_dimensions = {2: nn.InstanceNorm1d, 3: nn.InstanceNorm2d, 4: nn.InstanceNorm3d}
    if len(shape) not in by_dimensions:
        raise UndefinedError(f"instance norm takes one to three dimensions of positions: {shape}")
    return by_dimensions[len(shape)](shape[0], eps=eps, affine=affine)
