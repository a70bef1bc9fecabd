"""``looks.json``: when results were looked at, and how many runs had finished then.

Seeds that are added after a look are no longer a sample whose size was decided beforehand.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from normbench.errors import WorkError
from normbench.results.decisions import read_versioned
from normbench.results.files import write_object
from normbench.results.provenance import now

LOOKS_VERSION = 1


def _check(content: dict[str, Any]) -> None:
    for look in content["looks"]:
        int(look["finished"]), int(look["planned"]), str(look["when"])


def read_looks(folder: Path) -> list[dict[str, Any]]:
    """All recorded looks, the oldest first. Raises ResultsError for a file that cannot be read."""
    content = read_versioned(
        folder / "looks.json",
        _check,
        "then nobody knows any more that seeds were added after a look",
        LOOKS_VERSION,
    )
    return list(content["looks"]) if content else []


def record_look(folder: Path, command: str, finished: int, planned: int) -> None:
    """Note that somebody looks at the results, if any run has finished and nobody saw it so.

    A folder that may not be written keeps no note: reading results never fails for that.
    """
    looks = read_looks(folder)
    state = {"finished": finished, "planned": planned}
    if not finished or (looks and state.items() <= looks[-1].items()):
        return
    looks.append({"when": now(), "command": command, **state})
    with contextlib.suppress(WorkError):
        write_object(folder / "looks.json", {"version": LOOKS_VERSION, "looks": looks})
