"""Processes in tests: started, watched and ended for certain. Imports nothing of the project."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any


def wait_until(true: Callable[[], Any], what: str, seconds: float = 120.0) -> Any:
    """Wait until ``true()`` is; fails after ``seconds``."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = true()
        if found:
            return found
        time.sleep(0.002)
    raise AssertionError(f"{what} did not happen within {seconds:g} s")


def start(
    arguments: Iterable[str], folder: Path, environment: dict[str, str] | None = None
) -> subprocess.Popen[str]:
    """Start ``normbench`` in a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "normbench", *arguments],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", **(environment or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def kill_group(process: subprocess.Popen[str]) -> None:
    """Kill -9 a process and all that it has started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=30)


def children(pid: int) -> list[int]:
    """The processes that ``pid`` has started (Linux)."""
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += [int(child) for child in task.read_text(encoding="ascii").split()]
        except OSError:
            continue
    return found
