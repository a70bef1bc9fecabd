"""The command line: one file a command, nothing heavy imported before a command needs it."""

from __future__ import annotations

import signal
import sys
from types import FrameType


def _terminate(_signum: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def main() -> None:
    """Run ``normbench``; errors that a user can mend end it with a message, not a traceback."""
    from normbench.cli.app import app
    from normbench.errors import NormbenchError

    # A terminated sweep ends as an interrupted one: workers stopped, tables merged.
    signal.signal(signal.SIGTERM, _terminate)
    try:
        app()
    except NormbenchError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_status)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)
