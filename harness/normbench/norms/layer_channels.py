"""Layer norm over the channels of each pixel, as in ConvNeXt (Liu et al. 2022)."""

from __future__ import annotations

from torch import Tensor, nn

from normbench.errors import UndefinedError


class ChannelLayerNorm(nn.LayerNorm):
    """y = γ·(x − μ)/√(σ² + ε) + β with μ and the biased σ² over C at each position.

    Inputs have shape (N, C) or (N, C, H, W); γ and β have shape (C,). On a vector it is layer norm.
    arXiv:2201.03545.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Normalize each position of each sample."""
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)


def build(shape: tuple[int, ...], *, eps: float, affine: bool) -> nn.Module:
    """The layer for samples of ``shape`` (features,) or (C, H, W).

    Raises :class:`UndefinedError` for a single channel, of which nothing would be left.
    """
    if shape[0] < 2:
        raise UndefinedError(
            f"layer norm over channels needs at least two channels; a sample has shape {shape} here"
        )
    return ChannelLayerNorm(shape[0], eps=eps, elementwise_affine=affine)
