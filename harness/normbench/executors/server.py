"""The server process from which workers are forked with everything loaded."""

from __future__ import annotations

import atexit
import contextlib
import multiprocessing
import os
import signal
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
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
    wanted = {**dict.fromkeys(THREADS, str(threads)), **allocating(), _LOADING: file}
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


def wait_until_loaded() -> None:
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
