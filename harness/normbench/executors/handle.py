"""A worker process as its leader sees it: given a task, asked for the answer, replaced."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from normbench.errors import WorkError
from normbench.executors.base import describe
from normbench.executors.worker import STARTED, serve

#: Characters of a dead worker's last words, at most, and bytes of its errors that are looked at.
_MOST, _TAIL = 300, 8192
#: How often a task is handed over to workers that die before they begin it.
_TRIES = 3
#: Seconds within which a process that was told to end has ended.
_ENDS_WITHIN = 10.0


@dataclass(frozen=True)
class Start:
    """How workers are started: see :func:`normbench.executors.worker.serve`."""

    method: str
    threads: int
    variables: Mapping[str, str]
    initializer: Callable[[], None] | None


@dataclass(frozen=True)
class Answer:
    """What came of a task: its value, or what went wrong, and whether the process died of it.

    ``killed`` says that it was killed as the system does where memory runs out.
    """

    value: Any = None
    error: str | None = None
    died: bool = False
    killed: bool = False


class Worker:
    """One process; a new one takes its place when it dies."""

    def __init__(self, start: Start) -> None:
        self._start = start
        self._errors = _temporary()
        self._deadline: float | None = None
        self._content, self._tries, self._started = b"", 0, False
        self._seconds: float | None = None
        self._launch()

    def _launch(self) -> None:
        # a plain fork would copy a process in which torch already runs threads
        context: Any = multiprocessing.get_context(self._start.method)
        try:
            self._tasks, other = context.Pipe()
            self._process = context.Process(
                target=serve,
                args=(other, str(self._errors), self._start.threads,
                      dict(self._start.variables), self._start.initializer),
                daemon=True,
            )  # fmt: skip
            self._process.start()
        except (OSError, ImportError) as error:
            raise WorkError(
                f"worker processes cannot be started here ({describe(error)}); likely fix: free "
                "memory and processes, or train in this process with --workers 0"
            ) from error
        other.close()

    @property
    def waits(self) -> list[Any]:
        """What becomes ready when there is an answer, or the process has ended."""
        return [self._tasks, self._process.sentinel]

    @property
    def deadline(self) -> float | None:
        """The time, by the monotonic clock, at which the task has taken too long."""
        return self._deadline

    def give(self, function: Callable[[Any], Any], task: Any, seconds: float | None) -> None:
        """Hand over a task, which may take so many seconds; to a fresh process if this one died."""
        self._content = pickle.dumps((function, task), pickle.HIGHEST_PROTOCOL)
        self._seconds, self._tries = seconds, 0
        if self._ended():
            self.replace()
        self._send()

    def _send(self) -> None:
        self._started = False
        self._tries += 1
        with contextlib.suppress(OSError):  # it died this moment: its answer says so
            self._tasks.send_bytes(self._content)
        self._deadline = None if self._seconds is None else time.monotonic() + self._seconds

    def answer(self) -> Answer | None:
        """What came of the task; None while it is worked on. A process that died is replaced."""
        found = self._received()
        if found is None and self._ended():
            found = self._received() or self._death()  # it may have answered just before
        if found is None and self._deadline is not None and time.monotonic() > self._deadline:
            self._kill()
            found = Answer(
                error=f"no answer within {self._seconds:,.0f} s: it hangs, or was stopped "
                "(--timeout sets how long a worker may take)",
                died=True,
            )
        if found is not None:
            self._deadline = None
            self._pass_on()
            if found.died:
                self.replace()
                if not self._started and self._tries < _TRIES:
                    self._send()  # it had died before: the task has no part in that
                    return None
        return found

    def _received(self) -> Answer | None:
        try:
            if not self._tasks.poll():
                return None
            received = self._tasks.recv_bytes()
            if received == STARTED:
                self._started = True
                return self._received()
            good, content = pickle.loads(received)
        except (EOFError, OSError):  # closed: by a component, or by the end of the process
            return self._death()
        except Exception as error:
            return Answer(error=f"its answer cannot be read: {describe(error)}")
        return Answer(value=content) if good else Answer(error=content)

    def _ended(self) -> bool:
        if self._process.exitcode is not None:
            return True
        # a process that a task forked keeps the sign of life of one that is gone
        try:
            os.kill(self._process.pid, 0)
        except ProcessLookupError:
            return True
        except OSError:
            return False
        return False

    def _death(self) -> Answer:
        self._process.join(1.0)
        code = self._process.exitcode
        if code is None:
            self._kill()
            how = "it closed its connection"
        elif code < 0:
            how = f"signal {-code}"
            with contextlib.suppress(ValueError):  # one without a name
                how += f", {signal.Signals(-code).name}"
            if code == -signal.SIGKILL:
                how += ", perhaps out of memory"
        else:
            how = f"exit status {code}"
        words = self._last_words()
        said = f"the worker process died ({how})" + (f": {words}" if words else "")
        return Answer(error=said, died=True, killed=code == -signal.SIGKILL)

    def _last_words(self) -> str:
        """The last line that was written to standard error, or the one that names a fatal error."""
        lines = [line.strip() for line in self._written().splitlines() if line.strip()]
        fatal = [line for line in lines if line.startswith("Fatal Python error")]
        last = (fatal or lines or [""])[-1]
        return "".join(c if c.isprintable() else " " for c in last)[:_MOST]

    def _written(self) -> str:
        try:
            with self._errors.open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - _TAIL))
                return file.read().decode("utf-8", "replace")
        except OSError:
            return ""

    def _pass_on(self) -> None:
        """Write to this process's standard error what a worker wrote to its own, and forget it."""
        said = self._written()
        if said:
            with contextlib.suppress(OSError, ValueError):
                sys.stderr.write(said)
            with contextlib.suppress(OSError):
                os.truncate(self._errors, 0)

    def replace(self) -> None:
        """End the process and start another."""
        self._kill()
        self._launch()

    def _kill(self) -> None:
        self._process.kill()
        self._process.join(_ENDS_WITHIN)
        self._tasks.close()

    def close(self) -> None:
        """End the process, and what it is doing if anything."""
        self._kill()
        self._errors.unlink(missing_ok=True)


def _temporary() -> Path:
    handle, name = tempfile.mkstemp(prefix="normbench-worker-")
    os.close(handle)
    return Path(name)
