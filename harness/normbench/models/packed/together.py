"""Images of all members that lie together: a pixel's channels of all of them side by side.

They still have the shape (members, N, H, W, C); in memory they are (N, H, W, members, C), which
torch's operations take as images of members·C channels in the channels-last layout.
"""

from __future__ import annotations

from torch import Tensor

_ORDER, _BACK = (1, 2, 3, 0, 4), (3, 0, 1, 2, 4)


def together(x: Tensor) -> Tensor:
    """Images as (N, members·C, H, W), copied if they do not lie together."""
    return x.permute(_ORDER).contiguous().flatten(3).permute(0, 3, 1, 2)


def apart(x: Tensor, members: int) -> Tensor:
    """The way back: the same memory as (members, N, H, W, C)."""
    last = x.permute(0, 2, 3, 1)
    return last.view(*last.shape[:3], members, -1).permute(_BACK)
