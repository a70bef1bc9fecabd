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
        return self._blocks(x)

    def step(self, x: Tensor, t: int) -> Tensor:
        """One step."""
        del t
        return self._blocks(x)

    def finish(self) -> None:
        """Nothing is kept."""

    def _blocks(self, x: Tensor) -> Tensor:
        if self.absent:
            return x
        if len(self.kinds) == 1:
            return self._block(0, x)
        parts = enumerate(torch.split(x, self.sizes, -1))
        return torch.cat([self._block(i, part) for i, part in parts], -1)

    def _block(self, i: int, x: Tensor) -> Tensor:
        kind = self.kinds[i]
        if isinstance(kind, nn.GroupNorm):
            rows = x.reshape(-1, x.shape[-1])
            y = functional.group_norm(rows, kind.num_groups, eps=kind.eps).view(x.shape)
        elif isinstance(kind, nn.LayerNorm):
            y = functional.layer_norm(x, kind.normalized_shape, eps=kind.eps)
        else:
            return x
        for name, operation in (("weight", torch.mul), ("bias", torch.add)):
            spread = self.parameters.get(f"blocks.{i}.{name}")
            if spread is not None:
                shape = (len(spread), *([1] * (x.dim() - 2)), x.shape[-1])
                y = operation(y, spread.view(shape))
        return y


class StackedTimeBatch:
    """Batch norm of each member: one of as many channels as all members have together.

    Its statistics are per channel, so that all of :class:`TimeBatchNorm` (its modes, ghost batches,
    statistics per step) holds member by member.
    """

    def __init__(self, plain: TimeBatchNorm, members: int, parameters: Lookup) -> None:
        self.members = members
        self.norm = TimeBatchNorm(
            members * plain.channels,
            steps=plain.rows,
            time="pooled" if plain.pooled else "per-step",
            eps=plain.eps,
            momentum=plain.momentum,
            affine=False,
            gamma=1.0,
            shift=False,
        )
        self.norm.ghost = plain.ghost
        self.norm.weight, self.norm.bias = parameters.get("weight"), parameters.get("bias")

    def sequence(self, x: Tensor) -> Tensor:
        """All steps."""
        members, _, _, channels = x.shape
        wide = x.permute(1, 2, 0, 3).flatten(2)
        y = self.norm.sequence(wide)
        return y.view(*y.shape[:2], members, channels).permute(2, 0, 1, 3)

    def step(self, x: Tensor, t: int) -> Tensor:
        """One step."""
        members, _, channels = x.shape
        wide = x.transpose(0, 1).flatten(1)
        y = self.norm.step(wide, t)
        return y.view(-1, members, channels).transpose(0, 1)

    def finish(self) -> None:
        """Move pooled running statistics."""
        self.norm.finish()

    def statistics(self, member: int) -> tuple[Tensor, Tensor]:
        """A member's running mean and variance (rows, channels), as views."""
        rows = self.norm.rows
        return (
            self.norm.running_mean.view(rows, self.members, -1)[:, member],
            self.norm.running_var.view(rows, self.members, -1)[:, member],
        )


StackedNorm = StackedPerStep | StackedTimeBatch


def stacked(plain: SequenceNorm, members: int, parameters: Lookup) -> StackedNorm:
    """A plain norm for several members; raises :class:`UnsupportedError` where there is no form."""
    if isinstance(plain, TimeBatchNorm):
        return StackedTimeBatch(plain, members, parameters)
    return StackedPerStep(plain, parameters)
