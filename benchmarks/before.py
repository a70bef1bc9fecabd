"""The packed engine against that of an earlier commit: the best step of each, by turns.

``python -m benchmarks.before CHECKOUT`` times the working tree against a checkout of an earlier
commit, cell by cell: a process of one, a process of the other, and so on, so that a machine that
slows down does so for both. Each process takes steps of all formulations that a calibration of its
code tries, in turns, and the least median of their CPU times counts. A ratio is formed within a
round; the table in README.md gives their median over the rounds, and of these the median over the
norms.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.work import BATCHES, NORMS, TITLES, Work, prepared, run_spec

HERE = Path(__file__).parent
STORE = HERE / "results" / "before.json"
#: No more than this may be lost: removing code wins down to here.
BAR = 0.93
#: Seeds trained together, by the model and the batch size; 16 where nothing is said.
_WIDTHS = {("alexnet", 8): (8, 16), ("alexnet", 32): (4, 16), ("alexnet", 128): (4,)}
#: Steps of each formulation at least and at most; who takes so many times the least drops out.
_LEAST, _MOST, _FAR = 3, 40, 1.3


def best_step(work: Work, seconds: float) -> tuple[float, str]:
    """The least median of CPU seconds a seed's step, and the formulation that takes them."""
    import torch

    from normbench.plan.execution import EngineSpec
    from normbench.training.engines import make_engine
    from normbench.training.packed import variants

    data = prepared(work)
    timed: dict[str, Any] = {}
    for width in _WIDTHS.get((work.model, work.batch), (16,)):
        runs = [run_spec(work, seed) for seed in range(width)]
        index = torch.stack([torch.randperm(len(data.train))[: work.batch] for _ in runs])
        for name in variants(runs[0].cell, data, "cpu"):
            engine = make_engine(EngineSpec("packed", name, 1), runs, data)
            timed[f"{width} at once, `{name or 'im2col'}`"] = engine, index

    def step(name: str, number: int) -> float:
        engine, index = timed[name]
        with engine.session():
            started = time.process_time()
            engine.step(index, number)
            return (time.process_time() - started) / len(index)

    for name in timed:
        step(name, 0)
    found: dict[str, list[float]] = {name: [] for name in timed}
    running, ends = list(timed), time.perf_counter() + seconds
    for turn in range(_MOST):
        for name in running:
            found[name].append(step(name, turn + 1))
        if turn + 1 >= _LEAST:
            least = min(median(own) for own in found.values())
            running = [name for name in running if median(found[name]) <= _FAR * least]
            if time.perf_counter() > ends:
                break
    best = min(found, key=lambda name: median(found[name]))
    return median(found[best]), best


def _child(model: str, batch: int, seconds: float) -> None:
    """What one process does: the cell with every norm."""
    import torch

    from normbench.training.work import set_up_worker

    set_up_worker()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    print(json.dumps({norm: best_step(Work(model, norm, batch), seconds) for norm in NORMS}))


def _process(checkout: Path, model: str, batch: int, seconds: float) -> dict[str, Any]:
    environment = {**os.environ, "PYTHONPATH": str(checkout / "harness")}
    command = [sys.executable, "-m", "benchmarks.before", "--cell", model, str(batch)]
    done = subprocess.run(
        [*command, "--seconds", str(seconds)], cwd=HERE.parent, env=environment,
        stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _commit(checkout: Path) -> str:
    command = ["git", "-C", str(checkout), "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()


def ratios(rounds: Sequence[Sequence[Mapping[str, Any]]]) -> dict[str, float]:
    """By norm the median over the rounds of the earlier seconds by the present ones."""
    return {norm: median(a[norm][0] / b[norm][0] for a, b in rounds) for norm in rounds[0][0]}


def main() -> None:
    """Measure, store after every round, so that an interruption loses one."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.before", description=__doc__)
    parser.add_argument("checkout", type=Path, nargs="?", help="of the earlier commit")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.7, help="of timing per cell and norm")
    parser.add_argument("--only", nargs="*", default=[], metavar="MODEL:BATCH")
    parser.add_argument("--cell", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.cell:
        _child(options.cell[0], int(options.cell[1]), options.seconds)
        return
    if options.checkout is None:
        parser.error("name the checkout of an earlier commit")
    stored = json.loads(STORE.read_text(encoding="utf-8")) if STORE.exists() else {}
    commit = _commit(options.checkout)
    cells = stored.get("cells", {}) if options.only and stored.get("commit") == commit else {}
    wanted = [f"{model}:{batch}" for model in TITLES for batch in BATCHES]
    for cell in options.only or wanted:
        model, batch = cell.split(":")
        cells[cell] = []
        for _ in range(options.rounds):
            sides = options.checkout, HERE.parent
            cells[cell].append([_process(s, model, int(batch), options.seconds) for s in sides])
            STORE.write_text(json.dumps({"commit": commit, "cells": cells}) + "\n", "utf-8")
        found = ratios(cells[cell])
        said = {norm: f"{ratio:.2f}" for norm, ratio in found.items()}
        print(time.strftime("%H:%M:%S"), cell, f"{median(found.values()):.3f}", said, flush=True)


if __name__ == "__main__":
    main()
