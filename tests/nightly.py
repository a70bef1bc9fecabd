"""What is too slow for every commit: run it all, and write down when, of what, and how it ended.

``python -m tests.nightly`` runs every part, one after the other, whether or not an earlier one
failed; parts named as arguments are run alone. The table in ``docs/nightly.md`` holds the newest
lines first.
"""

from __future__ import annotations

import datetime
import os
import re
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "nightly.md"
#: Lines that the table keeps.
MOST = 60
HEAD = """\
# Slow checks

Written by `make nightly`, newest first: the slow tests (whole sweeps, killed processes, big
results) and the simulation of every statistical guarantee in full
([calibration.md](calibration.md)). A commit with a plus had changes that were not committed.

| date (UTC) | commit | part | result | minutes | last line |
|---|---|---|---|---|---|
"""
PARTS: dict[str, list[str]] = {
    "slow tests": ["-m", "pytest", "-q", "-m", "slow", "--ignore=tests/stats"],
    "calibration": ["-W", "error", "tests/stats/calibration.py", "docs/calibration.md"],
}


def commit() -> str:
    """The commit that is checked, with a plus where files differ from it."""

    def git(*arguments: str) -> str:
        done = subprocess.run(
            ["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
        )
        return done.stdout.strip() if done.returncode == 0 else ""

    name = git("rev-parse", "--short=10", "HEAD")
    # what the parts themselves write is no change of what they check
    written = [":(exclude)docs/nightly.md", ":(exclude)docs/calibration.md"]
    changed = git("status", "--porcelain", "--untracked-files=no", "--", ".", *written)
    return (name or "unknown") + ("+" if changed else "")


def perform(command: list[str]) -> tuple[int, str]:
    """Run a part, showing what it says; its exit status and its last line."""
    last = ""
    with subprocess.Popen(
        [sys.executable, *command], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, errors="replace", env=os.environ | {"PYTHONUNBUFFERED": "1"},
    ) as process:  # fmt: skip
        assert process.stdout is not None
        for line in process.stdout:
            sys.stdout.write(line)
            sys.stdout.flush()
            last = line.strip() or last
    return process.returncode, last


def row(part: str, status: int, seconds: float, last: str, when: datetime.datetime) -> str:
    """A line of the table."""
    words = re.sub(r"[|=\s]+", " ", last).strip()[:100]
    result = "passed" if status == 0 else f"**failed** (exit {status})"
    cells = (f"{when:%Y-%m-%d %H:%M}", commit(), part, result, f"{seconds / 60:.1f}", words)
    return f"| {' | '.join(cells)} |"


def record(line: str) -> None:
    """Put a line on top of the table; the oldest beyond :data:`MOST` go."""
    page = PAGE
    text = page.read_text(encoding="utf-8") if page.exists() else ""
    earlier = [one for one in text.splitlines() if re.match(r"\| \d{4}-", one)]
    written = page.with_suffix(".tmp")
    written.write_text(HEAD + "\n".join([line, *earlier][:MOST]) + "\n", encoding="utf-8")
    written.replace(page)


def main(names: list[str]) -> int:
    """Run the parts and record each; exit status 1 if one failed, 2 for an unknown part."""
    unknown = [name for name in names if name not in PARTS]
    if unknown:
        print(f"no part {unknown[0]!r}; there are {', '.join(PARTS)}", file=sys.stderr)
        return 2
    failed = False
    for name in names or PARTS:
        when, started = datetime.datetime.now(datetime.UTC), time.monotonic()
        status, last = perform(PARTS[name])
        record(row(name, status, time.monotonic() - started, last, when))
        failed |= status != 0
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
