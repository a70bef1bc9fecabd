"""Batch norm inside recurrent layers, with statistics per time step or pooled over time."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from normbench.norms.batch import BatchNorm, move

Time = Literal["per-step", "pooled"]


class TimeBatchNorm(BatchNorm):
    """Batch norm of sequences (Cooijmans et al. 2017, arXiv:1603.09025), for ``channels`` features.

    y = γ·(x − μ)/√(σ² + ε) + β; γ (initially ``gamma``; the paper takes 0.1, since units at unit
    variance saturate tanh and σ) and β are shared by all steps. β is there if ``shift`` is.

    With time ``"per-step"``, μ and σ² are taken over the batch at each step, and running statistics
    are kept for each of ``steps`` steps, shape (steps, channels). Steps past the last use its
    running statistics, as the paper does for sequences longer than any in training.

    With time ``"pooled"``, one set of running statistics serves all steps, shape (1, channels).
    Where all steps are there at once (:meth:`sequence`), μ and σ² are taken over batch and time
    (Laurent et al. 2015, arXiv:1510.01378). Where they come one after the other (:meth:`step`),
    each is normalized by its own batch, since the later ones depend on it, and the running
    statistics move once a training step, by the moments over batch and time together.

    Running statistics follow torch's convention, with the unbiased variance. The modes of
    evaluation, recomputed statistics and ghost batches are those of :class:`BatchNorm`.
    """

    def __init__(
        self,
        channels: int,
        *,
        steps: int,
        time: Time,
        eps: float,
        momentum: float,
        affine: bool,
        gamma: float,
        shift: bool,
    ) -> None:
        super().__init__(channels, eps=eps, momentum=momentum, affine=affine)
        self.pooled = time == "pooled"
        if self.weight is not None:
            nn.init.constant_(self.weight, gamma)
        if not shift:
            self.bias = None
        self.rows = 1 if self.pooled else steps
        self.running_mean = torch.zeros(self.rows, channels)
        self.running_var = torch.ones(self.rows, channels)
        self._seen: list[tuple[Tensor, Tensor]] = []
        self._counts: list[int] = []

    def _row(self, t: int) -> int:
        return min(t, self.rows - 1)

    def forward(self, x: Tensor) -> Tensor:
        """All steps at once: see :meth:`sequence`."""
        return self.sequence(x)

    def sequence(self, x: Tensor) -> Tensor:
        """Normalize all steps of (steps, samples, channels)."""
        steps, samples, _ = x.shape
        size = self._size(samples)
        if not size:
            rows = [self._row(t) for t in range(steps)]
            return self._fixed(x, self.running_mean[rows, None], self.running_var[rows, None])
        if not self.pooled:
            y, mean, variance = self._by_batches(x.flatten(0, 1), size)
            groups = samples // size
            self._note(
                list(range(steps)),
                mean.view(steps, groups, -1),
                variance.view(steps, groups, -1),
                size,
            )
            return y.reshape(x.shape)
        # the samples of a batch side by side, at all steps
        groups = samples // size
        folded = x.view(steps, groups, size, -1).transpose(0, 1)
        y, mean, variance = self._by_batches(folded.reshape(steps * samples, -1), steps * size)
        self._note([0], mean[None], variance[None], steps * size)
        return y.reshape(folded.shape).transpose(0, 1).reshape(x.shape)

    def step(self, x: Tensor, t: int) -> Tensor:
        """Normalize step ``t`` of (samples, channels)."""
        size = self._size(x.shape[0])
        row = self._row(t)
        if not size:
            return self._fixed(x, self.running_mean[row], self.running_var[row])
        y, mean, variance = self._by_batches(x, size)
        if self.training and self.pooled:
            self._seen.append((mean.detach(), variance.detach()))
        else:
            self._note([row], mean[None], variance[None], size)
        return y

    @torch.no_grad()
    def finish(self) -> None:
        """After the last step: move the running statistics by what :meth:`step` saw.

        Each (ghost) batch is pooled over its steps, and they move by the mean over the batches.
        """
        if not self._seen:
            return
        mean = torch.stack([m for m, _ in self._seen])  # (steps, batches, channels)
        variance = torch.stack([v for _, v in self._seen])
        self._seen = []
        pooled = variance.mean(0) + mean.var(0, correction=0)
        move(self.running_mean[0], mean.mean((0, 1)), self.momentum)
        move(self.running_var[0], pooled.mean(0), self.momentum)

    def _size(self, samples: int) -> int:
        """The samples of a batch whose statistics are used; 0 for running statistics."""
        if self.training:
            size = self.ghost if 0 < self.ghost < samples else samples
        elif self.mode == "running":
            return 0
        else:
            size = self.evaluation_batch
        if size < 1 or samples % size:
            raise ValueError(
                f"batch statistics need whole batches of {size} samples; received {samples}"
            )
        return size

    def _fixed(self, x: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
        scale = (variance + self.eps).rsqrt()
        if self.weight is not None:
            scale = scale * self.weight
        y = (x - mean) * scale
        return y if self.bias is None else y + self.bias

    def _by_batches(self, x: Tensor, size: int) -> tuple[Tensor, Tensor, Tensor]:
        """Each ``size`` consecutive rows normalized on their own; means, unbiased variances."""
        groups = x.shape[0] // size
        mean = x.new_zeros(groups * self.channels)
        variance = x.new_ones(groups * self.channels)
        y = self._folded(x, size, mean, variance)
        return y, mean.view(groups, -1), variance.view(groups, -1)

    @torch.no_grad()
    def _note(self, rows: list[int], mean: Tensor, variance: Tensor, values: int) -> None:
        """Use the statistics (rows, batches, channels) of batches of ``values`` values.

        In training they move the running statistics of these rows, by their mean over ghost
        batches; collecting, their moments are added up.
        """
        if self.training:
            # written in place and row by row: an update of a copy would be lost without an error
            one = mean.shape[1] == 1
            for i, row in enumerate(rows):
                at = self._row(row)
                seen, spread = (t[i, 0] if one else t[i].mean(0) for t in (mean, variance))
                move(self.running_mean[at], seen, self.momentum)
                move(self.running_var[at], spread, self.momentum)
        elif self.mode == "collect":
            first = mean.double()
            second = variance.double() * ((values - 1) / values) + first.square()
            for i, row in enumerate(rows):
                at = self._row(row)
                self.first_moment[at].add_(first[i].sum(0))
                self.second_moment[at].add_(second[i].sum(0))
                self._counts[at] += mean.shape[1]

    def start_collecting(self) -> None:
        """As in batch norm; batches are counted for each row."""
        super().start_collecting()
        self._counts = [0] * self.rows

    def _averages(self) -> tuple[Tensor, Tensor]:
        counts = torch.tensor(self._counts, dtype=torch.float64, device=self.first_moment.device)
        return self.first_moment / counts[:, None], self.second_moment / counts[:, None]
