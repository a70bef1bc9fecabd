"""Batch renormalization (Ioffe 2017): batch norm that leans on its running statistics."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from normbench.norms.batch import BatchNorm, for_each, require_two_values
from normbench.norms.schedule import Scheduled, ramp


def limits(
    done: float, *, r_max: float, d_max: float, plain: float, r_by: float, d_by: float
) -> tuple[float, float]:
    """The limits of r and d after the share ``done`` of the run: see :class:`BatchRenorm`."""
    return 1.0 + (r_max - 1.0) * ramp(done, plain, r_by), d_max * ramp(done, plain, d_by)


class BatchRenorm(BatchNorm, Scheduled):
    """y = γ·(x̂·r + d) + β, with x̂ as in batch norm and no gradient through r and d.

    r = σ_B/σ, between 1/r_max and r_max, and d = (μ_B − μ)/σ, between −d_max and d_max, turn the
    batch's statistics into the running ones as far as the limits allow: within them training and
    evaluation compute the same function. σ² = running variance + ε, and the running statistics are
    those before the step.

    At first r_max is 1 and d_max is 0, which is batch norm, for the share ``plain`` of the run.
    Then both grow in a straight line, r_max until the share ``r_by`` and d_max until ``d_by``. The
    paper's 5,000, 40,000 and 25,000 steps are taken as shares of 100,000.

    The running variance is batch norm's, an average of unbiased variances, where the paper averages
    the batches' standard deviations, which are too small where batches are. Evaluation, ghost
    batches and what is raised are as in :class:`BatchNorm`; with the statistics of each batch, it
    computes what training does. arXiv:1702.03275.
    """

    def __init__(
        self, channels: int, *, eps: float, momentum: float, affine: bool, **schedule: float
    ) -> None:
        super().__init__(channels, eps=eps, momentum=momentum, affine=affine)
        self.schedule = schedule

    def forward(self, x: Tensor) -> Tensor:
        """Normalize ``x`` of shape (N, C) or (N, C, H, W)."""
        if self.training and not 0 < self.ghost < x.shape[0]:
            weight, bias = self._scale_and_shift(x.reshape(x.shape[0], self.channels, -1))
            return self._native(x, weight, bias, training=True)
        return super().forward(x)

    def _scale_and_shift(self, folded: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """γ·r and β + γ·d of each channel of each batch."""
        r_max, d_max = limits(self.done, **self.schedule)
        with torch.no_grad():
            variance, mean = torch.var_mean(folded, dim=(0, 2), correction=0)
            batches = len(mean) // self.channels
            sigma = for_each((self.running_var + self.eps).sqrt(), batches)
            r = ((variance + self.eps).sqrt() / sigma).clamp(1 / r_max, r_max)
            d = ((mean - for_each(self.running_mean, batches)) / sigma).clamp(-d_max, d_max)
        if self.weight is None or self.bias is None:
            return r, d
        weight = for_each(self.weight, batches)
        return weight * r, for_each(self.bias, batches) + weight * d


def build(
    shape: tuple[int, ...], *, batch_size: int, eps: float, momentum: float, affine: bool,
    r_max: float, d_max: float, plain: float, r_by: float, d_by: float,
) -> nn.Module:  # fmt: skip
    """Batch renorm for samples of ``shape`` (C,) or (C, H, W) in batches of ``batch_size``.

    Raises :class:`~normbench.errors.UndefinedError` where batch norm does.
    """
    require_two_values("batch renorm", shape, batch_size)
    return BatchRenorm(
        shape[0], eps=eps, momentum=momentum, affine=affine, r_max=r_max, d_max=d_max,
        plain=plain, r_by=r_by, d_by=d_by,
    )  # fmt: skip
