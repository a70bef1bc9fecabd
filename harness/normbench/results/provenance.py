"""Where results come from: versions, machine, code and the command that was given."""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from normbench.results.files import damaged, read_object, write_object

PACKAGES = ("normbench", "torch", "torchvision", "numpy", "pandas", "pyarrow", "scipy",
            "scikit-learn")  # fmt: skip


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _cpu() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.lower().startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(Path(__file__).parent), *arguments],
            capture_output=True, text=True, timeout=10, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def environment() -> dict[str, Any]:
    """The machine, the versions and the code; results are paired only within one of these."""
    changed = _git("status", "--porcelain", "--untracked-files=no")
    return {
        "versions": {p: _version(p) for p in PACKAGES},
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "git_commit": _git("rev-parse", "HEAD"),
        "git_changed": None if changed is None else bool(changed),
    }


def now() -> str:
    """The present time in UTC, to the millisecond: invocations are told apart by it."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")


def read_provenance(folder: Path) -> dict[str, Any]:
    """All invocations that worked on these results, oldest first."""
    path = folder / "provenance.json"
    without = "then nothing says any more where and with what the present results were computed"
    content = read_object(path, without)
    invocations = [] if content is None else content.get("invocations")
    if not isinstance(invocations, list) or not all(isinstance(i, dict) for i in invocations):
        raise damaged(path, "it holds no invocations", without)
    return {"invocations": invocations}


def record_invocation(folder: Path, invocation: dict[str, Any]) -> None:
    """Add an invocation, or replace the one with the same start (when it ends)."""
    content = read_provenance(folder)
    earlier = [i for i in content["invocations"] if i.get("started") != invocation["started"]]
    content["invocations"] = [*earlier, invocation]
    write_object(folder / "provenance.json", content)


def command_line() -> list[str]:
    """The command as it was given, with the program's name alone instead of its path."""
    return [Path(sys.argv[0]).name, *sys.argv[1:]]
