"""Contenders in processes of their own, taking turns on one core; one such lane per core.

A process of its own keeps what one contender sets (oneDNN on or off, memory pools, caches of
kernels) away from the others. All of a lane are pinned to the same core with one thread each and
only one of them works at a time. The lanes of all cores work at the same time, each on cells of
its own, since a sweep loads all cores too: what cores share, all contenders share alike.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from multiprocessing.connection import Connection
from typing import Any

from benchmarks.work import Work
from normbench.executors.server import allocating, environment

#: The order in which a lane's contenders take turns.
ORDER = ("a", "a'", "b", "c", "peak")
LEAST_ROUNDS, MOST_ROUNDS = 5, 25
#: Processes of several lanes start one after the other, each in an environment of its own.
_starting = threading.Lock()


def cores() -> list[int]:
    """The cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return sorted(affinity(0)) if affinity else list(range(os.cpu_count() or 1))


def one_thread() -> AbstractContextManager[None]:
    """Processes started within are told to use one thread."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    return environment(dict.fromkeys(names, "1"))


def _serve(connection: Connection, core: int, kind: str) -> None:
    """A contender's process: answers what it is asked until it is told to end."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})
    import torch

    from benchmarks.kinds import make

    torch.set_num_threads(1)
    try:
        contender = make(kind)
        while (asked := connection.recv()) is not None:
            method, argument = asked
            connection.send((True, getattr(contender, method)(argument)))
    except Exception:
        connection.send((False, traceback.format_exc()))


class Lane:
    """The contenders of one core."""

    def __init__(self, core: int, kinds: tuple[str, ...]) -> None:
        self.core, self.kinds = core, kinds
        self._processes: dict[str, Any] = {}
        self._ends: dict[str, Connection] = {}

    def _ask(self, kind: str, method: str, argument: object) -> Any:
        if kind not in self._ends:
            context = multiprocessing.get_context("spawn")
            mine, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(theirs, self.core, kind), daemon=True)
            # (c) runs as normbench's workers do, the others as a script does
            with _starting, environment(allocating()) if kind == "c" else nullcontext():
                process.start()
            theirs.close()  # so that the end of the process ends the wait for it
            self._processes[kind], self._ends[kind] = process, mine
        self._ends[kind].send((method, argument))
        well, answer = self._ends[kind].recv()
        if not well:
            raise RuntimeError(f"the contender {kind} failed:\n{answer}")
        return answer

    def time(self, work: Work, seconds: float) -> dict[str, Any]:
        """All rounds of a cell: (wall-clock s, CPU s, units) per contender and round."""
        wanted = [k for k in ORDER if k in self.kinds and (k != "b" or work.with_lightning)]
        said = {kind: self._ask(kind, "begin", work) for kind in wanted}
        blocks: dict[str, list[list[float]]] = {kind: [] for kind in wanted}
        ends = time.perf_counter() + seconds
        for turn in range(MOST_ROUNDS):
            for kind in wanted:
                block = self._ask(kind, "block", turn + 1)
                blocks[kind].append([float(f"{v:.5g}") for v in block.values()])
            if turn + 1 >= LEAST_ROUNDS and time.perf_counter() > ends:
                break
        return {"model": work.model, "norm": work.norm, "batch": work.batch, "plan": said["c"]} | {
            "peak_size": said["peak"]["size"], "blocks": blocks,
        }  # fmt: skip

    def close(self) -> None:
        """End the processes."""
        for kind, process in self._processes.items():
            if process.is_alive():
                with suppress(OSError):
                    self._ends[kind].send(None)
            process.join(10)


def time_all(
    cells: list[Work], kinds: tuple[str, ...], seconds: float, tell: Callable[[str], None]
) -> list[dict[str, Any]]:
    """Time every cell for ``seconds`` at least, on all cores at once; failures are left out."""
    waiting, found = list(reversed(cells)), []

    def work_off(core: int) -> None:
        lane = Lane(core, kinds)
        while waiting:
            work = waiting.pop()
            try:
                found.append(lane.time(work, seconds))
                tell(f"{len(found)}/{len(cells)} {work.model} {work.norm} {work.batch}")
            except (RuntimeError, EOFError, OSError) as error:
                tell(f"{work} is left out: {error!r}")
                lane.close()
                lane = Lane(core, kinds)
        lane.close()

    with one_thread():
        threads = [threading.Thread(target=work_off, args=(core,)) for core in cores()]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return found
