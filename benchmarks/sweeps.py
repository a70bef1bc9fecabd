"""Whole sweeps through the command line, against the script that does the same work."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.lanes import cores, one_thread

PROTOCOLS = Path(__file__).parent.parent / "protocols"
SEEDS = 12  # those of quick.toml
#: The chapter's experiment, cut to a fifth; isolated steps are left to a command of their own.
CHAPTER = ("--set", "defaults.epochs=4", "--set", "defaults.evaluations=2", "--no-time")
_LONG, _MOST_SEEDS = 60.0, 400  # seconds that the long sweep should take at least


def _resident(process: int) -> float:
    """The resident memory of a process in MiB, 0 where it cannot be read."""
    try:
        for line in Path(f"/proc/{process}/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
    except OSError:
        pass
    return 0.0


def _children(process: int) -> list[int]:
    """All descendants of a process."""
    found: list[int] = []
    for file in Path(f"/proc/{process}/task").glob("*/children"):
        try:
            found += [int(child) for child in file.read_text(encoding="ascii").split()]
        except OSError:
            continue
    # workers are forked by a server that is a child of the main process
    return found + [one for child in found for one in _children(child)]


def _timed(command: list[str]) -> dict[str, float]:
    """Wall-clock seconds of a command, and the most memory that its processes held.

    Also what they had held by half time.
    """
    held: list[tuple[float, float, float]] = []
    with one_thread():
        # Python keeps compiled modules unless it is told not to, as where packages are tested
        kept = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        started = time.perf_counter()
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=kept
        )
        while process.poll() is None:
            of_children = [_resident(child) for child in _children(process.pid)]
            spent = time.perf_counter() - started
            held.append((spent, _resident(process.pid), max(of_children, default=0.0)))
            try:
                process.wait(0.25)
            except subprocess.TimeoutExpired:
                continue
        seconds = time.perf_counter() - started
    if process.returncode:
        said = process.stderr.read().decode() if process.stderr else ""
        raise RuntimeError(f"{' '.join(command[1:4])} ended with {process.returncode}: {said}")
    early = [one for one in held if one[0] <= seconds / 2]
    memory = {
        f"{name} MiB{when}": round(max((one[i] for one in some), default=0.0))
        for i, name in ((1, "main"), (2, "worker"))
        for when, some in (("", held), (" by half time", early))
    }
    return {"seconds": round(seconds, 2), **memory}


def script(seeds: int) -> dict[str, Any]:
    """The sweep by (a), one process per core."""
    with tempfile.TemporaryDirectory() as folder:
        file = str(Path(folder) / "rows.csv")
        module = "benchmarks.script_sweep"
        command = [sys.executable, "-m", module, str(seeds), str(len(cores())), file]
        return {"seeds": seeds, **_timed(command)}


def normbench(seeds: int, workers: int | None = None) -> dict[str, Any]:
    """The sweep of ``quick.toml`` by ``normbench run``."""
    return {"seeds": seeds, **_run("quick", ("--seeds", str(seeds)), workers)}


def _run(protocol: str, options: Sequence[str], workers: int | None = None) -> dict[str, Any]:
    """A sweep by ``normbench run``, with the share of time outside training and evaluation."""
    import normbench as package

    workers = len(cores()) if workers is None else workers
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder) / protocol
        command = [sys.executable, "-m", "normbench", "run", str(PROTOCOLS / f"{protocol}.toml")]
        command += ["--quiet", "--device", "cpu", "--results", str(results)]
        found = _timed([*command, "--workers", str(workers), *options])
        loaded = package.load(results)
        runs, phases = loaded.runs, loaded.provenance["invocations"][-1]["seconds"]
    evaluating = float(runs["eval_seconds"].sum())
    inside = float(runs["train_seconds"].sum()) + evaluating
    return {
        "workers": workers, "runs": len(runs), **found,
        "outside": round(1 - inside / workers / found["seconds"], 4),
        "evaluating": round(evaluating / inside, 4),
        "group": int(runs["group_size"].max()), "phases": phases,
    }  # fmt: skip


def measure(tell: Callable[[str], None], quick: bool) -> dict[str, Any]:
    """All sweeps; a quick look takes few seeds and leaves out the long ones."""
    seeds, rounds = (2, 1) if quick else (SEEDS, 5)
    found: dict[str, Any] = {"script": [], "normbench": [], "long": []}
    for i in range(rounds):
        found["script"].append(script(seeds))
        found["normbench"].append(normbench(seeds))
        tell(f"sweep {i + 1}/{rounds}")
    if quick:
        return found
    half, whole, many = found["normbench"][-1], {"seconds": 0.0}, seeds
    while whole["seconds"] < _LONG and many < _MOST_SEEDS:
        half, many = whole if whole["seconds"] else half, 2 * many
        whole = normbench(many)
        tell(f"sweep with {many} seeds")
    found["long"] = [half, whole, normbench(many // 2, 1)]
    tell("sweep with one worker")
    pets = str(PROTOCOLS / "pets.toml")
    _timed([sys.executable, "-m", "normbench", "plan", pets, "--no-estimate"])  # draws the data
    found["chapter"] = {"seeds": 8, **_run("pets", CHAPTER)}
    tell("sweep of AlexNets")
    return found
