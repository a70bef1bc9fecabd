"""Loss scaling for float16, for each member by itself (Micikevicius et al. 2018)."""

from __future__ import annotations

import torch
from torch import Tensor

#: Those of ``torch.amp.GradScaler``.
FIRST, GROWTH, BACKOFF, INTERVAL = 2.0**16, 2.0, 0.5, 2000
#: No scale is smaller: where even this one's gradients are not finite, scaling is not to blame.
LEAST = 2.0**-14


class LossScale:
    """What each member's losses are multiplied by, so that small gradients are no zeros in float16.

    A step whose gradients are not finite is skipped and the scale halved; after 2,000 steps without
    one it is doubled. ``skipped`` counts the steps. At the least scale none is skipped: what is not
    finite there reaches the weights, and the run has diverged. arXiv:1710.03740.
    """

    def __init__(self, members: int, device: str) -> None:
        self.values = torch.full((members,), FIRST, device=device)
        self.skipped = [0] * members
        self._since = [0] * members

    def steps(self, norms: Tensor) -> list[bool]:
        """Which members take the step, by the norms (members,) of their unscaled gradients."""
        taken, values = [], self.values.tolist()
        for member, finite in enumerate(torch.isfinite(norms).tolist()):
            self._since[member] += 1
            if finite and self._since[member] == INTERVAL:
                values[member], self._since[member] = values[member] * GROWTH, 0
            skips = not finite and values[member] > LEAST
            if skips:
                values[member], self._since[member] = values[member] * BACKOFF, 0
                self.skipped[member] += 1
            taken.append(not skips)
        self.values = self.values.new_tensor(values)
        return taken
