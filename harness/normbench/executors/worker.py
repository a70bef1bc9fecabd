"""What a worker process does: takes tasks, answers each, and lets nothing foreign out but text.

Components of other packages run here. Whatever they raise, exits and interrupts included, becomes
one line of text; an exception itself never crosses, since it may not be made again on the other
side. A process that a task forked ends as soon as the task's function returns in it.
"""

from __future__ import annotations

import faulthandler
import multiprocessing
import os
import pickle
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from typing import Any

from normbench import streams
from normbench.executors.base import describe
from normbench.executors.server import THREADS

#: What is sent when a task is begun: before, its end would be no fault of the task.
STARTED = b""


def serve(
    tasks: Connection,
    errors: str,
    threads: int,
    variables: Mapping[str, str],
    initializer: Callable[[], None] | None,
) -> None:
    """Answer tasks until the other end of ``tasks`` is closed.

    A task is a pickled function with its argument. That it is begun is told first; the answer is a
    pickled pair: whether there is a value, and the value or what went wrong. What is written to
    standard error goes to the file ``errors``: its last words say why a process died.
    """
    process = os.getpid()
    # Ctrl-C reaches the whole process group; only the parent decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # what a server of workers does with it is its own
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    log = os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(log, 2)
    os.close(log)
    for name in THREADS:
        os.environ[name] = str(threads)
    os.environ.update(variables)
    streams.prepare()  # a component that prints what the terminal lacks is no failed run
    faulthandler.enable(2)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if initializer is not None:
        initializer()
    while True:
        try:
            task = tasks.recv_bytes()
            tasks.send_bytes(STARTED)
        except (EOFError, OSError):
            return
        answer = _answer(task)
        if os.getpid() != process:
            os._exit(0)  # a task forked this process, and its parent answers
        _flush()
        tasks.send_bytes(answer)


def _answer(task: bytes) -> bytes:
    try:
        function, argument = pickle.loads(task)
        return pickle.dumps((True, function(argument)), pickle.HIGHEST_PROTOCOL)
    except BaseException as error:  # a foreign component's exit or interrupt is its failure
        return pickle.dumps((False, _words(error)))


def _words(error: BaseException) -> str:
    """An error as one line of clean text, even of one that cannot say what it is."""
    try:
        text = describe(error)
    except BaseException:  # its own __str__ raises
        text = type(error).__name__
    return text.encode("utf-8", "replace").decode("utf-8")


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):
            continue  # closed, or replaced by something else


def _end_with_parent() -> None:
    """End this worker when its parent is gone, however that came, in the middle of a task too.

    A worker whose parent was killed would train its group to the end for nobody, and take the
    processor from the run that resumes.
    """
    parent: Any = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
