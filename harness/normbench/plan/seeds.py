"""Named random streams: every draw has a key, and the key alone decides it.

A stream's key is (seed, purpose, name). The norm, the batch size, the protocol, the worker
and the moment never enter it, so that runs of one seed are paired: shared layers start from
the same weights and see the data in the same order in every configuration, and a resumed or
rescheduled run draws what an undisturbed one draws.
"""

from __future__ import annotations

import hashlib
from typing import Literal

Purpose = Literal[
    "init", "order", "dropout", "split", "subset", "probe", "draw", "augment", "forward"
]


def stream_key(seed: int, purpose: Purpose, name: str = "") -> int:
    """The 63-bit generator seed of one stream.

    ``seed`` is the run's seed (or the split seed), ``purpose`` what is drawn and ``name`` the
    layer, the epoch or the data set it is drawn for. Hashing keeps neighbouring seeds and
    names unrelated, which adding them up would not.
    """
    text = f"normbench/1|{int(seed)}|{purpose}|{name}".encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:8], "big") >> 1
