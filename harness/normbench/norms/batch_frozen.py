"""Batch norm whose statistics are fixed for the rest of the run."""

from __future__ import annotations

from torch import Tensor, nn

from normbench.norms.batch import BatchNorm, require_two_values
from normbench.norms.schedule import Scheduled


class Freezing(Scheduled):
    """When statistics are found, by what weights, and when they are fixed; for both engines."""

    after: float
    momentum: float

    @property
    def frozen(self) -> bool:
        """Whether the statistics are fixed by now."""
        return self.done >= self.after

    def update_weight(self) -> float:
        """What a new batch weighs: as in a plain average, until ``momentum`` is more."""
        return max(self.momentum, 1.0 / (self.step + 1))


class FrozenBatchNorm(Freezing, BatchNorm):
    """Batch norm for the share ``after`` of the run, then γ·(x − μ)/√(σ² + ε) + β with fixed μ, σ².

    While batch norm trains, the running statistics are found: the k-th batch weighs 1/k, until
    ``momentum`` is more. The first batches' plain average thus takes the place of the values 0 and
    1 that no data gave, and short runs are calibrated as well as long ones. Then they are fixed,
    training uses them too, and γ and β go on learning: noise of small batches and the mismatch
    between training and evaluation both end (frozen batch norm; cf. Wu & Johnson 2021,
    arXiv:2105.07576, who freeze it for the last part of training).

    With ``after`` = 0 it is frozen as it was born, with μ = 0 and σ² = 1: the identity up to ε.

    Evaluation and ghost batches are batch norm's before that. Once frozen, the statistics belong
    to the function that is trained: running, recomputed and batch statistics are the same.
    """

    def __init__(
        self, channels: int, *, eps: float, momentum: float, affine: bool, after: float
    ) -> None:
        super().__init__(channels, eps=eps, momentum=momentum, affine=affine)
        self.after = after

    def forward(self, x: Tensor) -> Tensor:
        """Normalize ``x`` of shape (N, C) or (N, C, H, W)."""
        if self.frozen:
            return self._by_running_statistics(x)
        return super().forward(x)

    def collected(self) -> tuple[Tensor, Tensor]:
        """The population's moments, or the fixed statistics."""
        moments = super().collected()
        if self.frozen:
            return self.running_mean.clone(), self.running_var.clone()
        return moments


def build(
    shape: tuple[int, ...], *, batch_size: int, eps: float, momentum: float, affine: bool,
    after: float,
) -> nn.Module:  # fmt: skip
    """Frozen batch norm for samples of ``shape`` (C,) or (C, H, W) in batches of ``batch_size``.

    Raises :class:`~normbench.errors.UndefinedError` where batch norm does, unless it is frozen
    from the start.
    """
    if after > 0:
        require_two_values("batch norm", shape, batch_size)
    return FrozenBatchNorm(shape[0], eps=eps, momentum=momentum, affine=affine, after=after)
