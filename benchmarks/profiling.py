"""Where a step's time goes: by operation, for (a) and for (c), on one thread.

Prints JSON. (a) is looked at with torch's profiler. normbench's packed step is a list of
operations, each of which is timed; the rows of the convolutions' windows apart. All in CPU time,
which other work on the machine disturbs less; only (a)'s shares are the profiler's. Whole steps,
bounds and formulations take turns, since a machine may be by half slower a minute later.
"""

from __future__ import annotations

import json
import sys
from collections import Counter, defaultdict
from statistics import median
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.contenders import Contender, Peak, Script
from benchmarks.fastest import Fastest, timed
from benchmarks.packed import Normbench
from benchmarks.shapes import passes_alone, products_alone, seconds_of
from benchmarks.summary import flops
from benchmarks.work import Work
from normbench.models.packed.grouped import Arrangements
from normbench.models.packed.im2col import Im2colConvolutions
from normbench.models.packed.simple import Activations, Biases, Dropouts, Flattenings, Pools
from normbench.models.packed.weights import LinearLayers, Weighted

#: How often everything is measured, and up to which batch size all formulations are.
TURNS, LARGEST_COMPARED = 9, 8
KINDS = ("convolution", "linear", "norm", "pool", "activation", "dropout", "update")
#: Parts of the names of the profiler's outermost entries, by kind; the first that fits counts.
_NAMES = {
    "convolution": ("conv2d", "ConvolutionBackward"),
    "linear": ("aten::linear", "AddmmBackward", "TBackward"),
    "norm": ("_norm", "NormBackward", "GroupNorm", "WeightNorm"),
    "pool": ("max_pool", "MaxPool"),
    "activation": ("aten::relu", "ReluBackward"),
    "dropout": ("dropout", "MulBackward", "bernoulli"),
    "update": ("Optimizer.step", "AccumulateGrad"),
}


def _kind(name: str) -> str | None:
    for kind, parts in _NAMES.items():
        if any(part in name for part in parts):
            return kind
    return None


def of_script(contender: Script, steps: int) -> dict[str, float]:
    """Seconds per step by kind, (a)."""
    contender.run(3)
    with profile(activities=[ProfilerActivity.CPU]) as found:
        contender.run(steps)
    seconds: Counter[str] = Counter()
    for event in found.events():
        name, parent = event.name, event.cpu_parent
        kind = _kind(name)
        inside = parent
        while inside is not None and _kind(inside.name) is None:
            inside = inside.cpu_parent
        if kind is not None and inside is None:
            seconds[kind] += event.cpu_time_total / 1e6 / steps
    return {kind: seconds[kind] for kind in KINDS}


#: What kind of operation a class is, the first that holds; all others are norms.
_CLASSES: tuple[tuple[Any, str], ...] = (
    (LinearLayers, "linear"), (Weighted, "convolution"), (Pools, "pool"), (Dropouts, "dropout"),
    ((Activations, Biases, Flattenings), "activation"), (Arrangements, "convolution"),
    (object, "norm"),
)  # fmt: skip


def of_normbench(contender: Normbench, steps: int) -> dict[str, float]:
    """Seconds per seed's step by kind, (c); ``rows`` is a part of ``convolution``."""
    contender.at = -1
    contender.start(0)
    if not contender.packed:
        return {}
    seconds: Counter[str] = Counter()
    trained: Any = contender.trained
    for _, operations in trained.packed.blocks:
        for operation in operations:
            kind = next(kind for classes, kind in _CLASSES if isinstance(operation, classes))
            for method in ("forward", "backward"):
                setattr(operation, method, timed(seconds, kind, getattr(operation, method)))
            if isinstance(operation, Im2colConvolutions):
                columns: Any = operation.columns
                columns.rows = timed(seconds, "rows", columns.rows)
    trained.update = timed(seconds, "update", trained.update)
    contender.run(2)
    seconds.clear()
    contender.run(steps)
    return {k: seconds[k] / steps / contender.members for k in (*KINDS, "rows")}


def _per_unit(contender: Contender, turn: int) -> float:
    """CPU seconds per seed's step of a block, or per operation of :class:`Peak`."""
    block = contender.block(turn)
    return block["cpu"] / block["units"]


def of_cell(work: Work) -> dict[str, Any]:
    """The profile of one cell."""
    peak, script, ours = Peak(), Script(fused=False), Normbench()
    torch.backends.mkldnn.enabled = True
    script.begin(work)
    peak.begin(work)
    plan = ours.begin(work)
    width = plan["width"]
    alone = {"products": products_alone(work, width), "passes": passes_alone(work, width)}
    fastest = Fastest(work, width) if ours.packed and work.batch <= LARGEST_COMPARED else None
    times: dict[str, list[float]] = defaultdict(list)
    for turn in range(TURNS):
        times["a"].append(_per_unit(script, turn))
        times["peak"].append(_per_unit(peak, turn + 1))
        if fastest is not None:
            fastest.turn()
        times["c"].append(_per_unit(ours, turn))
        for name, function in alone.items():
            with ours.trained.session():
                times[name].append(seconds_of(function) / width)
    found = {name: median(values) for name, values in times.items()}
    a = {"step": found["a"], **of_script(script, script.steps)}
    c = {"step": found["c"], **of_normbench(ours, max(2, ours.steps))}
    return {
        "model": work.model, "norm": work.norm, "batch": work.batch, "flops": flops(work),
        "peak": 1 / found["peak"], "products": found["products"], "passes": found["passes"],
        "fastest": None if fastest is None else fastest.step(), "a": a, "c": c,
        "variant": plan["variant"], "width": width,
    }  # fmt: skip


if __name__ == "__main__":
    torch.set_num_threads(1)
    quick = "--quick" in sys.argv
    wanted = [Work("alexnet", "batch", 8)] if quick else [
        Work("digits", norm, 8) for norm in ("none", "batch", "group", "layer")
    ] + [
        Work("alexnet", norm, batch) for norm in ("none", "batch") for batch in (2, 8, 32, 128)
    ]  # fmt: skip
    print(json.dumps([of_cell(work) for work in wanted]))
