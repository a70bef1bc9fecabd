"""Tasks in worker processes of this machine."""

from __future__ import annotations

import atexit
import contextlib
import multiprocessing
import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from pathlib import Path
from typing import Any

from pebble import ProcessExpired, ProcessPool

from normbench import streams
from normbench.errors import WorkError
from normbench.executors.base import Done, Task, Value, describe

_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
#: For glibc: memory that was freed stays with the process. A worker asks for tensors of the same
#: megabytes over and over, and the system hands them out page by page: evaluations took 1.07 times
#: as long without. Huge pages where the system has them spare looking addresses up.
_MALLOC = {
    "MALLOC_MMAP_THRESHOLD_": str(1 << 28), "MALLOC_TRIM_THRESHOLD_": str(1 << 28),
    "MALLOC_TOP_PAD_": str(1 << 24), "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
}  # fmt: skip
#: Names the file that is there while the server of workers loads, for the server.
_LOADING = "NORMBENCH_LOADING"
#: Seconds after which a worker is asked for in any case.
_LOADED_WITHIN = 120.0
_loading: list[Path] = []
_servers: list[int] = []


def allocating() -> dict[str, str]:
    """Environment variables of workers on the CPU by which memory is handed out.

    None that the user has set. They count where a process is started with them.
    """
    return {name: value for name, value in _MALLOC.items() if name not in os.environ}


@contextlib.contextmanager
def environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Processes started within have these environment variables."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _start_worker(
    threads: int, variables: Mapping[str, str], initializer: Callable[[], None] | None
) -> None:
    # Ctrl-C reaches the whole process group; only the parent decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for name in _THREADS:
        os.environ[name] = str(threads)
    os.environ.update(variables)
    streams.prepare()  # a component that prints what the terminal lacks is no failed run
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if initializer is not None:
        initializer()


def _end_with_parent() -> None:
    """End this worker when its parent is gone, however that came, in the middle of a task too.

    A worker whose parent was killed would train its group to the end for nobody, and take the
    processor from the run that resumes.
    """
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def prepare_workers(modules: Sequence[str], threads: int = 1) -> bool:
    """Begin to load ``modules`` in a server process from which workers can be forked at once.

    Loading takes seconds and each fresh worker would do it anew; here it happens once, while the
    caller goes on. Returns whether the system can do so (Linux and other Unix systems). Nothing of
    the caller is forked, so that no thread or lock of it is copied.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return False
    from multiprocessing import forkserver, resource_tracker

    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*modules, "normbench.executors.loaded"])
    file = ""
    if os.getpid() not in _servers:  # else it runs already, and loads nothing more
        _servers.append(os.getpid())
        handle, file = tempfile.mkstemp(prefix="normbench-loading-")
        os.close(handle)
        atexit.register(_forget)
        _loading[:] = [Path(file)]
    wanted = {**dict.fromkeys(_THREADS, str(threads)), **allocating(), _LOADING: file}
    # Ctrl-C reaches the server too, which ignores it only once everything is loaded; it inherits
    # what is blocked here. The tracker comes first, since starting it unblocks the signal.
    with environment(wanted):
        resource_tracker.ensure_running()
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            forkserver.ensure_running()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
    return True


def _wait_until_loaded() -> None:
    """Wait until the server has loaded all it should.

    A worker that is asked for earlier comes no sooner; and a caller that ends in between would
    leave the server with a request of which it complains.
    """
    end = time.monotonic() + _LOADED_WITHIN
    try:
        while _loading and _loading[0].exists() and time.monotonic() < end:
            time.sleep(0.005)
    finally:
        _forget()


def _forget() -> None:
    for file in _loading:
        file.unlink(missing_ok=True)
    _loading.clear()


class LocalExecutor:
    """``workers`` fresh processes with ``threads`` threads each, kept from one map to the next.

    With ``prepared`` they come from the server of :func:`prepare_workers`: right for workers on the
    CPU; an accelerator's must start without anything loaded.

    ``initializer`` runs once in each of them, after the environment variables of its place in
    ``variables`` are set (one mapping per worker; default: none): a worker that must see one
    accelerator alone is told so before it imports anything that looks. A worker has one task at a
    time, and gets the next in the given order when it is free. One that dies (killed, out of
    memory) fails its own task and is replaced.
    """

    def __init__(
        self,
        workers: int,
        threads: int = 1,
        initializer: Callable[[], None] | None = None,
        variables: Sequence[Mapping[str, str]] = (),
        *,
        prepared: bool = False,
    ) -> None:
        self.prepared = prepared
        self.workers, self.threads, self.initializer = workers, threads, initializer
        self.variables = variables or [{}] * workers
        if len(self.variables) != workers:
            raise ValueError(f"{len(self.variables)} sets of variables for {workers} workers")
        self._pools: dict[int, ProcessPool] = {}

    def __enter__(self) -> LocalExecutor:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the workers, and what they are doing if anything."""
        pools, self._pools = list(self._pools.values()), {}
        for pool in pools:  # each takes up to a tenth of a second to notice
            pool.stop()  # type: ignore[no-untyped-call]
        for pool in pools:
            pool.join()

    def _pool(self, place: int) -> ProcessPool:
        """The pool of one worker at a place, started when it is first used."""
        if place not in self._pools:
            if self.prepared:
                _wait_until_loaded()
            # a plain fork would copy a process in which torch already runs threads
            context = multiprocessing.get_context("forkserver" if self.prepared else "spawn")
            try:
                context.RLock()  # what pools are made of; they say less of what is wrong
            except (OSError, ImportError) as error:
                raise WorkError(
                    f"worker processes cannot be started here ({describe(error)}); they need "
                    "shared memory (/dev/shm): mount it, or train in this process with --workers 0"
                ) from error
            self._pools[place] = ProcessPool(
                max_workers=1,
                initializer=_start_worker,
                initargs=(self.threads, dict(self.variables[place]), self.initializer),
                context=context,
            )
        return self._pools[place]

    def map(
        self, function: Callable[[Task], Value], tasks: Sequence[Task]
    ) -> Iterator[Done[Task, Value]]:
        """Yield every task as it finishes; the first waiting task goes to the first free worker."""
        waiting = list(reversed(tasks))
        running: dict[Future[Any], tuple[Task, int]] = {}
        finished = False

        def start(place: int) -> None:
            if waiting:
                task = waiting.pop()
                running[self._pool(place).schedule(function, args=(task,))] = task, place

        try:
            for place in range(min(self.workers, len(waiting))):
                start(place)
            while running:
                done, _ = wait(running, timeout=0.5, return_when=FIRST_COMPLETED)
                for future in done:
                    task, place = running.pop(future)
                    start(place)  # before the caller deals with what is done
                    yield self._finished(future, task)
            finished = True
        finally:
            if not finished:
                self.close()

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
