"""The command line: one file a command, nothing heavy imported before a command needs it."""

from __future__ import annotations

import atexit
import contextlib
import errno
import os
import signal
import sys
import threading
from types import FrameType

from normbench import streams

#: What a user can mend when the operating system says it: no permission, no room, no such name.
_MENDABLE = frozenset(
    {
        errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EIO,
        errno.EMFILE, errno.ENFILE, errno.ENAMETOOLONG, errno.ELOOP, errno.EISDIR, errno.ENOTDIR,
        errno.EPIPE,
    }
)  # fmt: skip
#: Files that a process may hold open: what is asked for, and without which nothing is begun.
_FILES, _FEWEST_FILES = 1024, 64


def _terminate(_signum: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def main() -> None:
    """Run ``normbench``; errors that a user can mend end it with a message, not a traceback."""
    # A terminated sweep ends as an interrupted one: workers stopped, tables merged.
    signal.signal(signal.SIGTERM, _terminate)
    # So does one whose terminal is closed, unless it was started to outlive that (nohup).
    hangup = getattr(signal, "SIGHUP", None)
    if hangup is not None and signal.getsignal(hangup) is signal.SIG_DFL:
        signal.signal(hangup, _terminate)
    streams.prepare()
    try:
        _allow_files()
        _call()
    except KeyboardInterrupt:
        _say_interrupted()
        sys.exit(130)
    except SystemExit as ended:
        # Typer turns an interrupt into a bare exit with 130
        if isinstance(getattr(ended.__context__, "__cause__", None), KeyboardInterrupt):
            _say_interrupted()
        raise
    finally:
        # Python notes an interrupt that ends code which it runs from a string, such as that of a
        # data class, and would end by the signal though we dealt with it. The next such code
        # clears the note.
        exec("")
        _tell_lost_output()


def command() -> None:
    """Run ``normbench`` as a process of its own, and end it.

    The process ends as soon as Python has nothing left to do. Threads of the libraries that it has
    loaded may outlive that, and where C++ destroys its objects under them the process is aborted:
    so it was at the end of one command in some hundreds, on a busy machine.
    """
    status: object = 0
    try:
        main()
    except SystemExit as ended:
        status = ended.code
    if isinstance(status, str):
        streams.say(status, err=True)
    _leave(status if isinstance(status, int) else int(status is not None))


def _leave(status: int) -> None:
    """Do what Python does at its end, and leave without the libraries' own ends."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, OSError, ValueError):
            stream.flush()
    os._exit(status & 0xFF)


def _tell_lost_output() -> None:
    """End with status 1 where output could not be written, unless its reader has left."""
    reason = streams.lost()
    if reason is not None and not isinstance(sys.exc_info()[1], KeyboardInterrupt):
        _fail(f"output could not be written: {reason.strerror}; what was computed is kept")


def _say_interrupted() -> None:
    streams.say("interrupted; what was finished before is kept", err=True)


def _call() -> None:
    from normbench.cli import interrupts

    with interrupts.held():
        from normbench.cli.app import app
        from normbench.errors import NormbenchError

    try:
        app()
    except NormbenchError as error:
        _fail(str(error), error.exit_status)
    except UnicodeEncodeError as error:
        encoding = sys.getfilesystemencoding()
        if error.encoding != encoding or encoding == "utf-8":
            raise
        _fail(
            f"the name {error.object!r} cannot be written in this system's encoding of file names "
            f"({encoding}); run the same command again with PYTHONUTF8=1"
        )
    except OSError as error:
        if error.errno not in _MENDABLE:
            raise
        where = f" for {error.filename}" if error.filename else ""
        _fail(
            f"the system says: {error.strerror}{where}. What was finished before is kept; "
            "allow access, make room or name another place, then run the same command again"
        )


def _fail(text: str, status: int = 1) -> None:
    streams.say(streams.bounded(f"error: {text}"), err=True)
    sys.exit(status)


def _allow_files() -> None:
    """Let this process and its workers hold open as many files as they need, where they may.

    Without, loading a library fails somewhere in the middle, with an error that names none.
    """
    try:
        import resource
    except ImportError:  # Windows, which has no such limit
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= _FILES:
        return
    if hard == resource.RLIM_INFINITY or hard > soft:
        soft = _FILES if hard == resource.RLIM_INFINITY else min(_FILES, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft < _FEWEST_FILES:
        _fail(
            f"this process may hold {soft} files open at a time, and needs {_FEWEST_FILES} or "
            f"more, with many workers more yet; raise the limit (ulimit -n {_FILES}) and run the "
            "same command again"
        )
