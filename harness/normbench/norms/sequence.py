"""Norms inside recurrent layers, which see the steps all at once or one after the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from normbench.catalog import BATCH_INDEPENDENT, NORMS
from normbench.errors import UndefinedError, UsageError
from normbench.norms.factory import build_norm, changes_weights
from normbench.norms.own import depends_on_batch
from normbench.norms.time_batch import TimeBatchNorm


class PerStep(nn.Module):
    """A norm that knows one sample at one step, alike at all steps.

    The features may consist of several blocks side by side, each normalized on its own: layer norm
    in a GRU normalizes the gates apart from the candidate (Ba et al. 2016, arXiv:1607.06450).
    """

    def __init__(self, blocks: Sequence[nn.Module], sizes: Sequence[int]) -> None:
        super().__init__()
        self.blocks, self.sizes = nn.ModuleList(blocks), list(sizes)

    def forward(self, x: Tensor) -> Tensor:
        """Normalize (samples, features)."""
        if len(self.sizes) == 1:
            found: Tensor = self.blocks[0](x)
            return found
        parts = zip(self.blocks, torch.split(x, self.sizes, -1), strict=True)
        return torch.cat([block(part) for block, part in parts], -1)

    def sequence(self, x: Tensor) -> Tensor:
        """Normalize all steps, (steps, samples, features)."""
        found: Tensor = self(x.flatten(0, 1))
        return found.view(x.shape)

    def step(self, x: Tensor, t: int) -> Tensor:
        """Normalize one step, (samples, features)."""
        del t
        found: Tensor = self(x)
        return found

    def finish(self) -> None:
        """Nothing is kept from step to step."""


SequenceNorm = PerStep | TimeBatchNorm


def absent(features: int) -> PerStep:
    """What stands where no norm does."""
    return PerStep([nn.Identity()], [features])


def build_sequence_norm(
    name: str,
    params: Mapping[str, Any],
    sizes: Sequence[int],
    *,
    site: str,
    steps: int,
    batch_size: int,
) -> SequenceNorm:
    """The norm ``name`` for a site of a recurrent layer.

    ``sizes`` are the features of the blocks side by side, ``steps`` those of the training
    sequences and ``batch_size`` the samples that statistics are taken from. At the site ``input``
    all steps are there at once; at the others there is one after the other.

    Raises :class:`UndefinedError` where the norm has no meaning at this shape and
    :class:`UsageError` for a norm that has no form for recurrent nets.
    """
    if name == "batch":
        values = batch_size
        if site == "input" and params["time"] == "pooled":
            values *= steps
        if values < 2:
            raise UndefinedError(
                "batch norm needs at least two values per feature to take statistics from; "
                f"batch size {batch_size} gives one at each step"
            )
        # at input and hidden a shift would be one more bias: arXiv:1603.09025, section 3
        return TimeBatchNorm(sum(sizes), steps=steps, shift=site == "cell", **params)
    own = name == "own" and not any(depends_on_batch(**params, shape=(size,)) for size in sizes)
    if changes_weights(name) or not (own or BATCH_INDEPENDENT in NORMS[name].traits):
        raise UsageError(
            f"the norm {name} has no form for recurrent nets; use none, batch, or one that "
            "normalizes each sample by itself, such as layer"
        )
    return PerStep([build_norm(name, params, (size,), batch_size) for size in sizes], sizes)
