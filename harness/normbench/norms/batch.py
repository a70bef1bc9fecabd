"""Batch norm (Ioffe & Szegedy 2015), with the three ways to evaluate it."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from normbench.errors import UndefinedError

Mode = Literal["running", "batch", "collect"]


class BatchNorm(nn.Module):
    """y = γ·(x − μ)/√(σ² + ε) + β with μ and the biased σ² over the batch and all positions.

    ``channels`` is C for inputs of shape (N, C) or (N, C, H, W); γ, β, the running mean and the
    running variance have shape (C,). In training the batch's statistics are used, and the
    running ones become (1 − momentum)·old + momentum·new with the **unbiased** new variance, as
    in ``torch.nn.BatchNorm2d``, whose numbers it reproduces bit for bit.

    In evaluation, ``mode`` says which statistics are used: ``"running"`` (the default),
    ``"batch"`` (those of each ``evaluation_batch`` consecutive samples, as in training but with
    nothing updated), or ``"collect"``, which does as ``"batch"`` and adds up the moments from
    which :meth:`use_collected` makes population statistics (Wu & Johnson 2021,
    arXiv:2105.07576). Many small batches go through as one call, each normalized on its own.

    Raises ``ValueError`` for one value per channel in training. arXiv:1502.03167.
    """

    def __init__(self, channels: int, *, eps: float, momentum: float, affine: bool) -> None:
        super().__init__()
        self.channels, self.eps, self.momentum = channels, eps, momentum
        self.weight = nn.Parameter(torch.ones(channels)) if affine else None
        self.bias = nn.Parameter(torch.zeros(channels)) if affine else None
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))
        self.running_mean: Tensor
        self.running_var: Tensor
        self.mode: Mode = "running"
        self.evaluation_batch = 0
        self._moments: list[tuple[Tensor, Tensor]] = []
        self._batches = 0

    def forward(self, x: Tensor) -> Tensor:
        """Normalize ``x`` of shape (N, C) or (N, C, H, W)."""
        if self.training or self.mode == "running":
            return functional.batch_norm(
                x,
                self.running_mean,
                self.running_var,
                self.weight,
                self.bias,
                self.training,
                self.momentum,
                self.eps,
            )
        return self._per_batch(x)

    def _per_batch(self, x: Tensor) -> Tensor:
        batch = self.evaluation_batch
        if batch < 1 or x.shape[0] % batch:
            raise ValueError(
                f"batch statistics need whole batches of {batch} samples; received {x.shape[0]}"
            )
        # (k·b, C, …) → (b, k·C, positions): the native layer then normalizes k batches at once
        batches = x.shape[0] // batch
        folded = x.reshape(batches, batch, self.channels, -1).transpose(0, 1)
        folded = folded.reshape(batch, batches * self.channels, -1)
        mean = variance = None
        if self.mode == "collect":
            mean, variance = x.new_zeros(folded.shape[1]), x.new_ones(folded.shape[1])
        y = functional.batch_norm(
            folded,
            mean,
            variance,
            self.weight.repeat(batches) if self.weight is not None else None,
            self.bias.repeat(batches) if self.bias is not None else None,
            training=True,
            momentum=1.0,  # the "running" statistics become those of the batch
            eps=self.eps,
        )
        if mean is not None and variance is not None:
            values = batch * folded.shape[2]
            self._collect(mean, variance * ((values - 1) / values), batches)
        y = y.reshape(batch, batches, self.channels, -1).transpose(0, 1)
        return y.reshape(x.shape)

    def _collect(self, mean: Tensor, variance: Tensor, batches: int) -> None:
        """Add the moments of ``batches`` batches; both have shape (batches·C,)."""
        first = mean.double().reshape(batches, self.channels)
        second = variance.double().reshape(batches, self.channels) + first.square()
        self._moments.append((first.sum(0), second.sum(0)))
        self._batches += batches

    def start_collecting(self) -> None:
        """Forget collected moments; the next calls in mode ``"collect"`` gather new ones."""
        self._moments, self._batches = [], 0

    def collected(self) -> tuple[Tensor, Tensor]:
        """Population mean and (biased) variance from the batches seen since collecting began."""
        first = torch.stack([m for m, _ in self._moments]).sum(0) / self._batches
        second = torch.stack([s for _, s in self._moments]).sum(0) / self._batches
        variance = (second - first.square()).clamp_min(0)
        return first.to(self.running_mean.dtype), variance.to(self.running_var.dtype)


def build(
    shape: tuple[int, ...], *, batch_size: int, eps: float, momentum: float, affine: bool
) -> nn.Module:
    """Batch norm for samples of ``shape`` (C,) or (C, H, W) in batches of ``batch_size``.

    Raises :class:`UndefinedError` where a channel would have a single value to take statistics
    from: a batch of one vector, or of one 1×1 map.
    """
    values = batch_size
    for size in shape[1:]:
        values *= size
    if values < 2:
        raise UndefinedError(
            "batch norm needs at least two values per channel to take statistics from; "
            f"batch size {batch_size} with samples of shape {shape} gives one"
        )
    return BatchNorm(shape[0], eps=eps, momentum=momentum, affine=affine)
