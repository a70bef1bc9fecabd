"""Interrupts that wait while modules are loaded.

In the middle of an import an interrupt is not sure to arrive as one: a library may turn it into an
error of its own, or pass over it.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator


@contextlib.contextmanager
def held() -> Iterator[None]:
    """Let SIGINT, SIGTERM and SIGHUP wait until the context ends."""
    waiting = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, waiting)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
