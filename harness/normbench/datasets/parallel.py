"""Working through many items in threads, in order, with a bar on the terminal."""

from __future__ import annotations

import contextlib
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

from normbench.datasets.cache import is_worker

Item = TypeVar("Item")
Value = TypeVar("Value")


def usable_cores() -> int:
    """How many processors this process may use; a container may have fewer than the machine."""
    from joblib import cpu_count  # takes a tenth of a second

    return int(cpu_count())


def in_order(
    function: Callable[[Item], Value], items: Iterable[Item], workers: int | None = None
) -> Iterator[tuple[Item, Value]]:
    """Each item with the function's value, in the order of the items.

    Threads compute a few ahead of the reader, so that memory stays flat; an exception comes up
    where the reader reaches its item, and nothing further is started then.
    """
    workers = workers or usable_cores()
    left = iter(items)
    with ThreadPoolExecutor(workers) as pool:
        ahead: deque[tuple[Item, Future[Value]]] = deque()
        ahead.extend((i, pool.submit(function, i)) for i in islice(left, 16 * workers))
        try:
            while ahead:
                item, future = ahead.popleft()
                yield item, future.result()
                ahead.extend((i, pool.submit(function, i)) for i in islice(left, 1))
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


@contextlib.contextmanager
def bar(what: str, total: int) -> Iterator[Callable[[], None]]:
    """Give a function to call once an item; it moves a bar on stderr.

    Nothing is shown where stderr is no terminal, nor by workers, whose bars would overlap.
    """
    if is_worker() or not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeRemainingColumn as Left

    from normbench.terminal import Terminal

    columns = (TextColumn("[bold]{task.description}[/]"), BarColumn(), MofNCompleteColumn(), Left())
    with Progress(*columns, console=Terminal(stderr=True), transient=True) as shown:
        task = shown.add_task(what, total=total)
        yield lambda: shown.advance(task)
