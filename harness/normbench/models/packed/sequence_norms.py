"""Norms of recurrent layers for several runs at once, with a leading axis of members."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from normbench.models.packed.graph import UnsupportedError
from normbench.norms.sequence import PerStep, SequenceNorm
from normbench.norms.time_batch import TimeBatchNorm

#: A norm's parameters by name, of shape (members, features), or flat for batch norm.
Lookup = Mapping[str, nn.Parameter]


class StackedPerStep:
    """Layer norm, group norm or none of each sample at each step; see :class:`PerStep`."""

    def __init__(self, plain: PerStep, parameters: Lookup) -> None:
        self.sizes, self.parameters = plain.sizes, parameters
        self.kinds: list[nn.Module] = list(plain.blocks)
        for kind in self.kinds:
            if type(kind) not in (nn.Identity, nn.LayerNorm, nn.GroupNorm):
                raise UnsupportedError(f"{type(kind).__name__} has no form for several members")
        self.absent = all(type(kind) is nn.Identity for kind in self.kinds)

    def sequence(self, x: Tensor) -> Tensor:
        """All steps: they are further samples."""
        return self.step(x, 0)

    def step(self, x: Tensor, t: int) -> Tensor:
        """One step."""
        del t
        if self.absent:
            return x
        parts = [self._block(i, part) for i, part in enumerate(torch.split(x, self.sizes, -1))]
        return parts[0] if len(parts) == 1 else torch.cat(parts, -1)

    def finish(self) -> None:
        """Nothing is kept."""

    def _block(self, i: int, x: Tensor) -> Tensor:
        kind, y = self.kinds[i], x
        if isinstance(kind, nn.GroupNorm):
            rows = x.reshape(-1, x.shape[-1])
            y = functional.group_norm(rows, kind.num_groups, eps=kind.eps).view(x.shape)
        elif isinstance(kind, nn.LayerNorm):
            y = functional.layer_norm(x, kind.normalized_shape, eps=kind.eps)
        for name, operation in (("weight", torch.mul), ("bias", torch.add)):
            spread = self.parameters.get(f"blocks.{i}.{name}")
            if spread is not None:
                y = operation(y, spread.view(len(spread), *([1] * (x.dim() - 2)), x.shape[-1]))
        return y


class StackedTimeBatch:
    """Batch norm of each member: one of as many channels as all members have together.

    Its statistics are per channel, so that all of :class:`TimeBatchNorm` (its modes, ghost batches,
    statistics per step) holds member by member.
    """

    def __init__(self, plain: TimeBatchNorm, members: int, parameters: Lookup) -> None:
        self.members = members
        self.norm = TimeBatchNorm(
            members * plain.channels, steps=plain.rows,
            time="pooled" if plain.pooled else "per-step", eps=plain.eps,
            momentum=plain.momentum, affine=False, gamma=1.0, shift=False,
        )  # fmt: skip
        self.norm.ghost = plain.ghost
        self.norm.weight, self.norm.bias = parameters.get("weight"), parameters.get("bias")

    def sequence(self, x: Tensor) -> Tensor:
        """All steps (members, steps, N, channels)."""
        y = self.norm.sequence(x.permute(1, 2, 0, 3).flatten(2))
        return y.view(*y.shape[:2], self.members, -1).permute(2, 0, 1, 3)

    def step(self, x: Tensor, t: int) -> Tensor:
        """One step (members, N, channels)."""
        y = self.norm.step(x.transpose(0, 1).flatten(1), t)
        return y.view(len(y), self.members, -1).transpose(0, 1)

    def finish(self) -> None:
        """Move pooled running statistics."""
        self.norm.finish()

    def statistics(self, member: int) -> tuple[Tensor, Tensor]:
        """A member's running mean and variance (rows, channels), as views."""
        shape = (self.norm.rows, self.members, -1)
        mean, variance = self.norm.running_mean, self.norm.running_var
        return mean.view(shape)[:, member], variance.view(shape)[:, member]


StackedNorm = StackedPerStep | StackedTimeBatch


def stacked(plain: SequenceNorm, members: int, parameters: Lookup) -> StackedNorm:
    """A plain norm for several members; raises :class:`UnsupportedError` where there is no form."""
    if isinstance(plain, TimeBatchNorm):
        return StackedTimeBatch(plain, members, parameters)
    return StackedPerStep(plain, parameters)
