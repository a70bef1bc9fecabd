"""Tasks in worker processes of this machine."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import Any

from pebble import ProcessExpired, ProcessPool

from normbench.executors.base import Done, Task, Value, describe


def _start_worker(threads: int, initializer: Callable[[], None] | None) -> None:
    # Ctrl-C reaches the whole process group; only the parent decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = str(threads)
    if initializer is not None:
        initializer()


class LocalExecutor:
    """A pool of ``workers`` fresh processes with ``threads`` threads each.

    ``initializer`` runs once in each of them. A worker that dies (killed, out of memory) fails
    its own task and is replaced.
    """

    def __init__(
        self, workers: int, threads: int = 1, initializer: Callable[[], None] | None = None
    ) -> None:
        self.workers, self.threads, self.initializer = workers, threads, initializer

    def map(
        self, function: Callable[[Task], Value], tasks: Sequence[Task]
    ) -> Iterator[Done[Task, Value]]:
        """Yield every task as it finishes."""
        pool = ProcessPool(
            max_workers=max(1, min(self.workers, len(tasks))),
            initializer=_start_worker,
            initargs=(self.threads, self.initializer),
            # fork would copy a process in which torch already runs threads
            context=multiprocessing.get_context("spawn"),
        )
        finished = False
        try:
            waiting = list(reversed(tasks))
            running: dict[Future[Any], Task] = {}
            while waiting or running:
                # a short queue: an interrupt has little to cancel, and memory stays flat
                while waiting and len(running) < 2 * self.workers:
                    task = waiting.pop()
                    running[pool.schedule(function, args=(task,))] = task
                done, _ = wait(running, timeout=0.5, return_when=FIRST_COMPLETED)
                for future in done:
                    yield self._finished(future, running.pop(future))
            finished = True
        finally:
            if finished:
                pool.close()  # type: ignore[no-untyped-call]
            else:
                pool.stop()  # type: ignore[no-untyped-call]
            pool.join()

    def _finished(self, future: Future[Any], task: Task) -> Done[Task, Any]:
        error = future.exception()
        if error is None:
            return Done(task, future.result())
        if isinstance(error, ProcessExpired):
            code = error.exitcode
            how = f"signal {-code}" if code < 0 else f"exit status {code}"
            if code == -signal.SIGKILL:
                how += ", perhaps out of memory"
            return Done(task, None, f"the worker process died ({how})")
        return Done(task, None, describe(error))
