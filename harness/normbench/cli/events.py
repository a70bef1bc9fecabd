"""Progress of a sweep for machines: a JSON object a line."""

from __future__ import annotations

import json
import time
from typing import Any

from normbench.streams import say

_RUN = ("experiment", "norm", "batch_size", "seed", "phase", "status", "error", "run_hash")


class JsonProgress:
    """Prints what happens as it happens; each line has the key ``event`` and the ``time``.

    ``started`` (total, done, workers), ``progressed`` (share of the work, 0 to 1), ``run`` for each
    that is committed, and ``ended`` (by_status, interrupted, results).
    """

    def started(self, total: int, done: int, workers: int) -> None:
        """Runs are to be computed."""
        _tell("started", total=total, done=done, workers=workers)

    def progressed(self, share: float) -> None:
        """A share of the work is done."""
        _tell("progressed", share=round(share, 4))

    def finished(self, rows: list[dict[str, Any]]) -> None:
        """Runs were committed."""
        for row in rows:
            _tell("run", **{key: row.get(key) for key in _RUN})

    def ended(self, **what: Any) -> None:
        """The command is about to end."""
        _tell("ended", **what)

    def close(self) -> None:
        """Nothing is held open."""


def _tell(event: str, **what: Any) -> None:
    say(json.dumps({"event": event, "time": round(time.time(), 3), **what}))
