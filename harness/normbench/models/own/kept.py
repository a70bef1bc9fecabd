"""Batch norm that stays: as ours, which computes torch's bits and has all evaluations."""

from __future__ import annotations

import torch
from torch import nn

from normbench.errors import UndefinedError, UsageError
from normbench.models.own.survey import NormSite
from normbench.models.own.wish import Wish
from normbench.norms.batch import BatchNorm, require_two_values
from normbench.norms.schedule import Scheduled


class AveragingBatchNorm(BatchNorm, Scheduled):
    """Batch norm with momentum ``None``: running statistics are a plain average of all batches.

    ``seen`` are those before the run, as trained weights may have them.
    """

    def __init__(self, channels: int, *, eps: float, affine: bool, seen: int) -> None:
        super().__init__(channels, eps=eps, momentum=0.0, affine=affine)
        self.seen = seen

    def update_weight(self) -> float:
        """The k-th batch weighs 1/k."""
        return 1.0 / (self.seen + self.step + 1)


@torch.no_grad()
def kept(site: NormSite, old: nn.Module, wish: Wish) -> BatchNorm:
    """A batch norm of torch or timm as ours: values, momentum, ε and what trains are the same.

    Raises :class:`UsageError` where it keeps no running statistics, without which there is no
    evaluation of single items, and :class:`UndefinedError` where it has no meaning.
    """
    if getattr(old, "running_mean", None) is None:
        raise UsageError(
            "a batch norm without running statistics evaluates no item by itself; likely fix: "
            "track_running_stats=True"
        )
    if site.fault:
        raise UndefinedError(f"statistics over items have no meaning: {site.fault}")
    batch = wish.norm.batch_size * site.rows
    if site.shape is not None:
        require_two_values("batch norm", site.shape, batch)
    weight, bias = old.weight, old.bias
    momentum = old.momentum
    channels, affine, eps = int(old.num_features), weight is not None, float(old.eps)  # type: ignore[arg-type]
    if momentum is None:
        seen = int(old.num_batches_tracked)
        new: BatchNorm = AveragingBatchNorm(channels, eps=eps, affine=affine, seen=seen)
    else:
        new = BatchNorm(channels, eps=eps, momentum=float(momentum), affine=affine)  # type: ignore[arg-type]
    # the tensors themselves: names, memory and whether they train stay what they were
    new.weight, new.bias = weight, bias  # type: ignore[assignment]
    new.running_mean, new.running_var = old.running_mean, old.running_var  # type: ignore[assignment]
    new.rows = site.rows
    new.ghost = batch if wish.norm.batch_size < wish.batch_size else 0
    return new
