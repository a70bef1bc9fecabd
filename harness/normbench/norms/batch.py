"""Batch norm (Ioffe & Szegedy 2015), with the three ways to evaluate it."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from normbench.errors import UndefinedError, UsageError

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
    which :meth:`collected` makes population statistics (Wu & Johnson 2021,
    arXiv:2105.07576). Many small batches go through as one call, each normalized on its own.

    With ``ghost`` > 0, training takes statistics from each ``ghost`` consecutive samples instead
    of the whole batch, with shared γ and β (Hoffer, Hubara & Soudry 2017, arXiv:1705.08741); the
    running statistics then move once a step, by the mean over the ghost batches.

    Where a network folds positions into the batch, ``rows`` says how many rows of it an item makes.

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
        self.first_moment: Tensor
        self.second_moment: Tensor
        self.mode: Mode = "running"
        self.evaluation_batch = 0
        self.ghost = 0
        self.rows = 1
        self._batches = 0

    def extra_repr(self) -> str:
        """What torch's own batch norm says of itself."""
        affine = self.weight is not None
        return f"{self.channels}, eps={self.eps}, momentum={self.momentum}, affine={affine}"

    def forward(self, x: Tensor) -> Tensor:
        """Normalize ``x`` of shape (N, C) or (N, C, H, W)."""
        if self.training and 0 < self.ghost < x.shape[0]:
            return self._in_batches(x, self.ghost)
        if self.training:
            return self._native(x, self.weight, self.bias, training=True)
        if self.mode == "running":
            return self._by_running_statistics(x)
        return self._per_batch(x)

    def update_weight(self) -> float:
        """What a new batch weighs in the running statistics."""
        return self.momentum

    def _native(
        self, x: Tensor, weight: Tensor | None, bias: Tensor | None, *, training: bool
    ) -> Tensor:
        return functional.batch_norm(
            x,
            self.running_mean,
            self.running_var,
            weight,
            bias,
            training,
            self.update_weight(),
            self.eps,
        )

    def _by_running_statistics(self, x: Tensor) -> Tensor:
        return self._native(x, self.weight, self.bias, training=False)

    def _scale_and_shift(self, folded: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """γ and β of each channel of each batch in ``folded``, (batch, batches·C, positions)."""
        batches = folded.shape[1] // self.channels
        weight = for_each(self.weight, batches) if self.weight is not None else None
        return weight, for_each(self.bias, batches) if self.bias is not None else None

    def _folded(
        self, x: Tensor, batch: int, mean: Tensor | None, variance: Tensor | None
    ) -> Tensor:
        """Normalize each ``batch`` consecutive samples on their own, in one native call.

        ``mean`` and ``variance`` of shape (batches·C,) receive each batch's own, if given.
        """
        if batch < 1 or x.shape[0] % batch:
            raise ValueError(
                f"batch statistics need whole batches of {batch} samples; received {x.shape[0]}"
            )
        # (k·b, C, …) → (b, k·C, positions): the native layer then normalizes k batches at once
        batches = x.shape[0] // batch
        folded = x.reshape(batches, batch, self.channels, -1).transpose(0, 1)
        folded = folded.reshape(batch, batches * self.channels, -1)
        weight, bias = self._scale_and_shift(folded)
        y = functional.batch_norm(
            folded,
            mean,
            variance,
            weight,
            bias,
            training=True,
            momentum=1.0,  # the "running" statistics become those of the batch
            eps=self.eps,
        )
        y = y.reshape(batch, batches, self.channels, -1).transpose(0, 1)
        return y.reshape(x.shape)

    def _in_batches(self, x: Tensor, batch: int) -> Tensor:
        """Training in (ghost) batches: the running statistics move by the mean over them."""
        batches = x.shape[0] // batch
        mean = self.running_mean.new_zeros(batches * self.channels)
        variance = self.running_var.new_ones(batches * self.channels)
        y = self._folded(x, batch, mean, variance)
        with torch.no_grad():
            for running, seen in ((self.running_mean, mean), (self.running_var, variance)):
                move(running, seen.reshape(batches, self.channels).mean(0), self.update_weight())
        return y

    def _per_batch(self, x: Tensor) -> Tensor:
        batch = self.evaluation_batch * self.rows
        if self.mode != "collect":
            return self._folded(x, batch, None, None)
        batches = x.shape[0] // max(1, batch)
        mean = self.running_mean.new_zeros(batches * self.channels)
        variance = self.running_var.new_ones(batches * self.channels)
        y = self._folded(x, batch, mean, variance)
        values = batch * (x[0].numel() // self.channels)
        self._collect(mean, variance * ((values - 1) / values), batches)
        return y

    def _collect(self, mean: Tensor, variance: Tensor, batches: int) -> None:
        """Add the moments of ``batches`` batches; both have shape (batches·C,)."""
        first = mean.double().reshape(batches, self.channels)
        second = variance.double().reshape(batches, self.channels) + first.square()
        self.first_moment.add_(first.sum(0))
        self.second_moment.add_(second.sum(0))
        self._batches += batches

    def start_collecting(self) -> None:
        """Let the next calls in mode ``"collect"`` gather moments, up to :meth:`collected`.

        They are added up in buffers, so that a function of a module's buffers can gather them.
        """
        zeros = torch.zeros_like(self.running_mean, dtype=torch.float64)
        self.register_buffer("first_moment", zeros, persistent=False)
        self.register_buffer("second_moment", zeros.clone(), persistent=False)
        self._batches = 0

    def collected(self) -> tuple[Tensor, Tensor]:
        """Population mean and (biased) variance from the batches seen since collecting began.

        That ends with this call.
        """
        first, second = self._averages()
        del self.first_moment, self.second_moment
        variance = (second - first.square()).clamp_min(0)
        return first.to(self.running_mean.dtype), variance.to(self.running_var.dtype)

    def _averages(self) -> tuple[Tensor, Tensor]:
        return self.first_moment / self._batches, self.second_moment / self._batches


def move(running: Tensor, seen: Tensor, weight: float) -> None:
    """Make running statistics (1 − weight)·running + weight·seen, in place.

    ``lerp_`` would give the same bits, and has no rule of its own for several members at once.
    """
    running.copy_(torch.lerp(running, seen, weight))


def for_each(values: Tensor, batches: int) -> Tensor:
    """Values per channel (C,) for each of several batches, (batches·C,)."""
    return values if batches == 1 else values.repeat(batches)


def require_two_values(what: str, shape: tuple[int, ...], batch_size: int) -> None:
    """Raise :class:`UndefinedError` where a channel has a single value to take statistics from.

    That is a batch of one vector, or of one 1×1 map; ``what`` names the norm.
    """
    if batch_size * math.prod(shape[1:]) < 2:
        raise UndefinedError(
            f"{what} needs at least two values per channel to take statistics from; "
            f"batch size {batch_size} with samples of shape {shape} gives one"
        )


def build(
    shape: tuple[int, ...],
    *,
    batch_size: int,
    eps: float,
    momentum: float,
    affine: bool,
    time: str = "per-step",
    gamma: float = 0.1,
) -> nn.Module:
    """Batch norm for samples of ``shape`` (C,) or (C, H, W) in batches of ``batch_size``.

    ``time`` and ``gamma`` are for recurrent nets (:mod:`normbench.norms.time_batch`) and must be
    left at their defaults here, where the scale starts at 1: raises :class:`UsageError` otherwise.

    Raises :class:`UndefinedError` where a channel would have a single value to take statistics
    from: see :func:`require_two_values`.
    """
    if (time, gamma) != ("per-step", 0.1):
        raise UsageError(
            "time and gamma of batch norm are for the models lstm, gru and rnn; received "
            f"time = {time!r} and gamma = {gamma:g} for another model: leave them out"
        )
    require_two_values("batch norm", shape, batch_size)
    return BatchNorm(shape[0], eps=eps, momentum=momentum, affine=affine)
