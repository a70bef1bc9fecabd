"""Imported last by the server of workers: tells the process that started it that all is loaded.

That process waits until the file is gone which ``NORMBENCH_LOADING`` names.
"""

from __future__ import annotations

import contextlib
import os

_file = os.environ.get("NORMBENCH_LOADING")
if _file:
    with contextlib.suppress(OSError):
        os.unlink(_file)  # noqa: PTH108  (nothing more is imported than must be)
