"""Tasks in worker processes of this machine."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from multiprocessing.connection import wait
from typing import Any

from normbench.executors.base import Done, Task, Value
from normbench.executors.handle import Start, Worker
from normbench.executors.server import wait_until_loaded

#: Seconds after which workers are looked at in any case.
_LOOK = 0.5


class LocalExecutor:
    """``workers`` fresh processes with ``threads`` threads each, kept from one map to the next.

    With ``prepared`` they come from the server of
    :func:`~normbench.executors.server.prepare_workers`: right for workers on the CPU; an
    accelerator's must start without anything loaded.

    ``initializer`` runs once in each of them, after the environment variables of its place in
    ``variables`` are set (one mapping per worker; default: none): a worker that must see one
    accelerator alone is told so before it imports anything that looks. A worker has one task at a
    time, and gets the next in the given order when it is free. One that dies, in whatever way,
    fails its own task and is replaced; so is one whose task takes longer than ``timeout`` seconds
    (default: as long as it takes), or than :meth:`map` is told.
    """

    def __init__(
        self,
        workers: int,
        threads: int = 1,
        initializer: Callable[[], None] | None = None,
        variables: Sequence[Mapping[str, str]] = (),
        *,
        prepared: bool = False,
        timeout: float | None = None,
    ) -> None:
        self.prepared, self.timeout = prepared, timeout
        self.workers, self.threads, self.initializer = workers, threads, initializer
        self.variables = variables or [{}] * workers
        if len(self.variables) != workers:
            raise ValueError(f"{len(self.variables)} sets of variables for {workers} workers")
        self._workers: dict[int, Worker] = {}

    def __enter__(self) -> LocalExecutor:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the workers, and what they are doing if anything."""
        workers, self._workers = list(self._workers.values()), {}
        for worker in workers:
            worker.close()

    def _worker(self, place: int) -> Worker:
        """The worker at a place, started when it is first used."""
        if place not in self._workers:
            if self.prepared:
                wait_until_loaded()
            method = "forkserver" if self.prepared else "spawn"
            start = Start(method, self.threads, self.variables[place], self.initializer)
            self._workers[place] = Worker(start)
        return self._workers[place]

    def map(
        self,
        function: Callable[[Task], Value],
        tasks: Sequence[Task],
        limit: Callable[[Task], float | None] | None = None,
    ) -> Iterator[Done[Task, Value]]:
        """Yield every task as it finishes; the first waiting task goes to the first free worker.

        ``limit`` says how many seconds a task may take (default: the executor's ``timeout``).
        """
        waiting = deque(tasks)
        running: dict[int, Task] = {}
        finished = False

        def start(place: int) -> None:
            if waiting:
                task = waiting.popleft()
                seconds = self.timeout if limit is None else limit(task)
                self._worker(place).give(function, task, seconds)
                running[place] = task

        try:
            for place in range(min(self.workers, len(waiting))):
                start(place)
            while running:
                self._await(list(running))
                for place in list(running):
                    answer = self._workers[place].answer()
                    if answer is None:
                        continue
                    task = running.pop(place)
                    start(place)  # before the caller deals with what is done
                    yield Done(task, answer.value, answer.error, answer.died, answer.killed)
            finished = True
        finally:
            if not finished:
                self.close()

    def _await(self, places: Sequence[int]) -> None:
        """Wait until one of these workers has something to say, or it is time to look."""
        deadlines = [self._workers[place].deadline for place in places]
        left = [d - time.monotonic() for d in deadlines if d is not None]
        ready: list[Any] = [one for place in places for one in self._workers[place].waits]
        wait(ready, timeout=max(0.0, min([_LOOK, *left])))
