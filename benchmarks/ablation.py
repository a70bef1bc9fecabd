"""What each formulation of the convolutions, and each pass, is worth: a step without it and with.

``python -m benchmarks.ablation`` measures, and `python -m benchmarks --render` writes the table
into README.md. In each cell of the benchmark all formulations, and the best with a pass left out,
train the same seeds, a step of each in turns and in another order every turn, so that a machine
that slows down does so for all. Seconds are the CPU time of a step. What a formulation is worth is
the least median among those without it by the least of all; what a pass is worth is the least
median of the net made without it by the least of all.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

from benchmarks.work import BATCHES, TITLES, WIDTHS, Work, prepared, run_spec

STORE = Path(__file__).parent / "results" / "ablation.json"
NORMS = ("none", "batch", "layer", "group")
#: The formulations, a variant that names one has it; and the passes that need not be made.
WAYS = ("im2col", "grouped")
PASSES = ("pools_first", "gradients_end", "in_place")
#: A mark between a variant and the pass that its net is made without.
WITHOUT, NOTHING = " without ", "nothing"
#: Turns at least and at most; who takes so many times the least after the least turns drops out.
LEAST, MOST, FAR = 3, 25, 1.5


class _Timed:
    """An engine by a variant, of which single steps are timed."""

    def __init__(self, work: Work, width: int, name: str) -> None:
        import torch

        from normbench.models.packed import passes
        from normbench.plan.execution import EngineSpec
        from normbench.training.engines import make_engine

        runs, data = [run_spec(work, seed) for seed in range(width)], prepared(work)
        variant, _, gone = name.partition(WITHOUT)
        kept = tuple(one for one in passes.PASSES if one.__name__ != gone)
        with patch.object(passes, "PASSES", kept):
            self.engine: Any = make_engine(EngineSpec("packed", variant, 1), runs, data)
        self.index = torch.stack([torch.randperm(len(data.train))[: work.batch] for _ in runs])
        self.done = 0

    def step(self) -> float:
        """Its CPU seconds a seed."""
        with self.engine.session():
            started = time.process_time()
            self.engine.step(self.index, self.done)
            self.done += 1
            return (time.process_time() - started) / self.engine.members


def _in_turns(timed: Mapping[str, _Timed], seconds: float) -> dict[str, list[float]]:
    """The seconds of the steps of each."""
    found: dict[str, list[float]] = {name: [] for name in timed}
    for one in timed.values():
        one.step()
    running, order, ends = list(timed), random.Random(1), time.perf_counter() + seconds
    for turn in range(MOST):
        for name in order.sample(running, len(running)):
            found[name].append(timed[name].step())
        if turn + 1 >= LEAST:
            best = min(median(found[name]) for name in running)
            running = [name for name in running if median(found[name]) <= FAR * best]
            if time.perf_counter() > ends:
                break
    return found


def measure(work: Work, seconds: float) -> dict[str, list[float]]:
    """The seconds of each variant's steps in a cell, then those of the best without a pass."""
    from normbench.training.packed import variants

    width = WIDTHS.get((work.model, work.batch), 16)
    names = [*variants(run_spec(work).cell, prepared(work), "cpu"), *WAYS]
    timed = {name: _Timed(work, width, name) for name in dict.fromkeys(names)}
    found = _in_turns(timed, seconds)
    best = min(found, key=lambda name: median(found[name]))
    less = [f"{best}{WITHOUT}{gone}" for gone in (*PASSES, NOTHING)]
    return found | _in_turns({name: _Timed(work, width, name) for name in less}, seconds)


def worth(found: Mapping[str, Sequence[float]], kind: str) -> float:
    """The least seconds without a way by the least of all; without a pass by those with all."""
    middle = {name.partition(WITHOUT): median(own) for name, own in found.items()}
    if kind in PASSES:
        less = {gone: value for (_, _, gone), value in middle.items() if gone}
        return less[kind] / less[NOTHING]
    whole = {name: value for (name, _, gone), value in middle.items() if not gone}
    return min(value for name, value in whole.items() if kind not in name) / min(whole.values())


def main() -> None:
    """Measure the cells asked for, and store the numbers after each."""
    import torch

    parser = argparse.ArgumentParser(prog="python -m benchmarks.ablation", description=__doc__)
    parser.add_argument("--seconds", type=float, default=6.0, help="of timing per cell and norm")
    parser.add_argument("--cells", nargs="*", default=[], metavar="MODEL:BATCH")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    stored = json.loads(STORE.read_text(encoding="utf-8"))
    cells = stored["present"] if options.cells else {}
    for cell in options.cells or [f"{m}:{batch}" for m in TITLES for batch in BATCHES]:
        model, batch = cell.split(":")
        own = [measure(Work(model, norm, int(batch)), options.seconds) for norm in NORMS]
        cells[cell] = {k: round(median(worth(one, k) for one in own), 3) for k in (*WAYS, *PASSES)}
        print(time.strftime("%H:%M:%S"), cell, cells[cell], file=sys.stderr, flush=True)
        STORE.write_text(json.dumps(stored | {"present": cells}) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
