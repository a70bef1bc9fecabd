"""Functions that behave as code of others does at its worst; each does so for the task 3 alone."""

from __future__ import annotations

import ctypes
import faulthandler
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

#: Seconds after which a process that hangs would end by itself.
FOREVER = 300.0


class TwoArgumentsError(Exception):
    """Cannot be made again from its arguments."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(f"{one} {two}")


class SpeechlessError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


class UnpicklableError(Exception):
    def __init__(self) -> None:
        super().__init__("holds a lock")
        self.lock = threading.Lock()


class BadlyUnpickled:
    """Can be sent, and raises where it arrives."""

    def __reduce__(self) -> Any:
        return _raise, ("on arrival",)


class BadlyPickled:
    def __reduce__(self) -> Any:
        raise SystemExit(4)


def _raise(text: str) -> None:
    raise ValueError(text)


def _exits(status: Any) -> Callable[[], Any]:
    def act() -> None:
        sys.exit(status)

    return act


def _kills(number: int) -> Callable[[], Any]:
    def act() -> None:
        os.kill(os.getpid(), number)
        time.sleep(FOREVER)

    return act


def _recurse(depth: int = 0) -> int:
    return _recurse(depth + 1) + 1


def _throws(error: Callable[[], BaseException]) -> Callable[[], Any]:
    def act() -> None:
        raise error()

    return act


def _segfault() -> None:
    faulthandler.enable(2)
    ctypes.string_at(0)


def _speaks_and_dies() -> None:
    os.write(2, b"the last words of a component\n")
    os._exit(9)


def _forks() -> int:
    if os.fork() == 0:
        return -1  # a copy of the worker goes on as if it were one
    return 3


def _forks_and_dies() -> None:
    if os.fork() == 0:
        time.sleep(20)  # holds what it inherited, for a while
        os._exit(0)
    os._exit(5)


def _closes_descriptors() -> None:
    os.closerange(3, 256)


def _leaves_a_thread() -> int:
    threading.Thread(target=time.sleep, args=(FOREVER,), daemon=True).start()
    return 3


def _changes_the_process() -> int:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    sys.stdout.close()
    sys.stderr = None
    os.environ.clear()
    return 3


def _floods() -> int:
    for _ in range(200):
        os.write(2, b"x" * 10_000 + b"\n")
    return 3


#: What each does, and the words that its failure has; None where it fails not.
WAYS: dict[str, tuple[Callable[[], Any], str | None]] = {
    "leaves with status 0": (lambda: os._exit(0), "exit status 0"),
    "leaves with status 3": (lambda: os._exit(3), "exit status 3"),
    "exits": (_exits(None), "SystemExit"),
    "exits with a text": (_exits("so long"), "so long"),
    "interrupts": (_throws(KeyboardInterrupt), "KeyboardInterrupt"),
    "ends a generator": (_throws(GeneratorExit), "GeneratorExit"),
    "base exception": (_throws(lambda: BaseException("base")), "base"),
    "two arguments": (_throws(lambda: TwoArgumentsError("a", "b")), "TwoArgumentsError: a b"),
    "unpicklable error": (_throws(UnpicklableError), "holds a lock"),
    "speechless": (_throws(SpeechlessError), "SpeechlessError"),
    "surrogates": (_throws(lambda: ValueError("half \ud800 of it")), "half"),
    "a huge message": (_throws(lambda: ValueError("x" * 5_000_000)), "xxx"),
    "recursion": (_recurse, "RecursionError"),
    "out of Python's memory": (_throws(MemoryError), "MemoryError"),
    "killed": (_kills(signal.SIGKILL), "SIGKILL, perhaps out of memory"),
    "terminated": (_kills(signal.SIGTERM), "SIGTERM"),
    "aborts": (os.abort, "SIGABRT"),
    "segfaults": (_segfault, "SIGSEGV): Fatal Python error: Segmentation fault"),
    "last words": (_speaks_and_dies, "exit status 9): the last words of a component"),
    "badly pickled": (BadlyPickled, "SystemExit"),
    "badly unpickled": (BadlyUnpickled, "on arrival"),
    "a function": (lambda: lambda: 3, "pickle"),
    "forks": (_forks, None),
    "forks and dies": (_forks_and_dies, "died"),
    "closes descriptors": (_closes_descriptors, "died"),
    "leaves a thread": (_leaves_a_thread, None),
    "changes the process": (_changes_the_process, None),
    "floods standard error": (_floods, None),
    "hangs": (lambda: time.sleep(FOREVER), "no answer within"),
    "is stopped": (_kills(signal.SIGSTOP), "no answer within"),
}


def behave(way: str, task: int) -> int:
    """The task's square, but for task 3, which behaves in a ``way``."""
    if task != 3:
        return task**2
    found = WAYS[way][0]()
    return 9 if found == 3 else found
