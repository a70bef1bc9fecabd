"""Group norm (Wu & He 2018)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from torch import nn

from normbench.catalog import NORMS
from normbench.errors import UndefinedError, UsageError

#: The groups of the catalogue, which ``group_size`` may take the place of.
_GROUPS = NORMS["group"].params["groups"].default


def build(
    shape: tuple[int, ...], *, groups: int, eps: float, affine: bool, group_size: int = 0
) -> nn.Module:
    """y = γ·(x − μ)/√(σ² + ε) + β with μ and the biased σ² over C/G channels and all positions.

    ``shape`` is a sample's shape at the site: (features,), (C, H, W) or any other with channels
    first; γ and β are per channel. With ``group_size``, that many channels are a group, and
    ``groups`` is left at its default. One group is layer norm with a scale per channel; as many
    groups as channels is instance norm. Raises :class:`UsageError` where the groups do not divide
    the channels and :class:`UndefinedError` where a group would hold a single value, of which
    nothing would be left. arXiv:1803.08494.
    """
    channels = shape[0]
    groups = count_of(channels, groups, group_size)
    if channels % groups:
        raise UsageError(
            f"group norm needs groups that divide the channels: {groups} groups do not divide "
            f"{channels} channels; use one of {', '.join(map(str, divisors(channels)))}"
        )
    if math.prod(shape) == groups:
        raise UndefinedError(
            f"group norm needs at least two values per group; {groups} groups of a sample of "
            f"shape {shape} hold one each"
        )
    return nn.GroupNorm(groups, channels, eps=eps, affine=affine)


def count_of(channels: int, groups: int, group_size: int) -> int:
    """How many groups so many channels have.

    Raises :class:`UsageError` where both are given, or the size does not divide the channels.
    """
    if not group_size:
        return groups
    if groups != _GROUPS:
        raise UsageError(
            f"groups counts groups and group_size the channels of one: give one of them; received "
            f"groups = {groups} and group_size = {group_size}"
        )
    if channels % group_size:
        raise UsageError(
            f"group norm needs a group_size that divides the channels: groups of {group_size} do "
            f"not divide {channels} channels; use one of {', '.join(map(str, divisors(channels)))}"
        )
    return channels // group_size


def groups_in(params: Mapping[str, Any], channels: int) -> int:
    """The groups that a norm's parameters make of the channels; 0 where it has none."""
    if "groups" not in params:
        return 0
    return count_of(channels, int(params["groups"]), int(params.get("group_size", 0)))


def divisors(channels: int) -> list[int]:
    """All numbers that divide the channels, in order."""
    return [n for n in range(1, channels + 1) if channels % n == 0]
