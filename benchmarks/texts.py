"""The page's words."""

from __future__ import annotations

from typing import Any

TITLE = """# Benchmarks

How fast normbench trains many seeds of a network, compared with other ways of training the same.
This page is written by the benchmark itself; the raw numbers are in `results/bench.json`.

| command | what it does |
| --- | --- |
| `make bench`, or `python -m benchmarks` | everything, in about 30 minutes on 2 cores |
| `python -m benchmarks --profile` | only where a step's time goes; the rest is kept |
| `python -m benchmarks --quick` | a look of some minutes, into `results/quick.md` |
| `python -m benchmarks --only steps` or `--only sweeps` | one part; the other is kept |
| `python -m benchmarks --render` | this page from the stored numbers |
| `python -m benchmarks.ablation` | what each formulation of the packed engine is worth |
| `python -m benchmarks.before CHECKOUT` | the packed engine against that of an earlier commit |

The contenders:

- (a) the script that a good PyTorch user writes ([script.py](script.py)): torch's own layers, a
  `DataLoader` over tensors, `loss.backward()`, `torch.optim.SGD`, one seed after the other, one
  process per core;
- (a′) the same with batches by indexing tensors and `fused=True`;
- (b) Lightning's `Trainer` with logging, checkpoints and progress off
  ([with_lightning.py](with_lightning.py)), on two cells, where `lightning` is installed;
- (c) normbench with the plan that its own calibration picks for 16 seeds of the cell and one worker
  ([packed.py](packed.py)).
"""

STEPS = """\
A step is the choice of a batch, forward pass, backward pass and SGD with momentum. Each contender
has a process of its own, so that what one sets (oneDNN on or off, memory pools, kernel caches)
does not reach another. All of them are pinned to the same core with one thread each and take turns,
a block of about a quarter of a second each (one step at least): (a), (a′), (b), (c), matrix
product, (a), … A ratio is formed within a round, and the table gives the median over the rounds and
the range of the middle 80 %. All cores do this at once, each on other cells, as in a sweep. The
seeds go on from round to round; building and warming up are not timed. normbench is calibrated
before the first round, and nothing of the calibration is reported. Nobody keeps losses or hits of
the batches. (c)'s process is set up as normbench's workers are (memory that was freed stays, huge
pages, denormal numbers are zero), the others' as Python starts them.

The share of peak is the floating-point operations of the plain network's step
(`torch.utils.flop_counter`) by the step's time, divided by the rate of a large single-precision
matrix product in the same round. Formulations with fewer operations (`wg4`, which is gone)
are credited with those that they save, so that a share may exceed 1.

Before anything is timed, (a), (a′) and every formulation of (c) train from equal weights on equal
batches: their losses differ by {worst} at most, relatively, over six steps and all norms.
"""

LIGHTNING = """\
The time between the ends of two training steps of one `fit`: Lightning's start-up is left out.
"""

SWEEPS = """\
`protocols/quick.toml` as a whole, from the start of the command to its end: imports, data,
calibration, training, evaluation, writing. (a) is [script_sweep.py](script_sweep.py): the same
networks, epochs and evaluations (training, validation and test items before training and after each
epoch; batch norm with running, batch and recomputed statistics too), one process per core. Both by
turns on all cores, in wall-clock time. normbench also stores what (a) leaves out: predictions, the
loss and accuracy of the training batches, and norms of gradients, updates and weights. Isolated
steps are timed by a command of their own after so short a sweep.

A run of `quick.toml` takes some 40 ms of a core, so that what is done once weighs most there: the
sweep of over a minute by which the bars are judged has more of its seeds. `pets.toml`, whose runs
take seconds, stands beside it with a fifth of its epochs and evaluations and its data drawn before.
"""

PROFILE = """\
Shares of a step's CPU time by kind of operation, forward and backward together, one thread, a
process for all cells; (a) by torch's profiler, (c) by timing each of its operations.
"Laid out" is the part of the convolutions' time in which rows of windows are copied for the matrix
products, or images and products transformed (`wg4`, which is gone). "Rest" is what lies between
operations: the interpreter, choosing batches, the loss.
"""

BOUNDS = """\
What bounds a step: "all at peak" is the time of its floating-point operations at the rate of a
large matrix product; "products and update alone" is the measured time of only the step's matrix
products in their true shapes and order and of the update (every seed with its own weights, outputs
and velocities; no windows laid out, no norm, pool or activation); "passes alone" that of reading
and writing once what every layer gives, forward and backward, for a norm twice. Their sum is the
bound: a formulation by these products and one operation per layer cannot be faster. Formulations
that multiply less often (`wg4`, which is gone) may be: bound / (c) is above 1 where they are. "(a)
/ bound" is the ratio that a step at the bound would have, "the bound's" its share of peak.

"Each operation at its fastest" is measured for small batches: the formulations that a calibration
tries and some others take steps in turns ([fastest.py](fastest.py)), and of each operation's
forward and backward pass the least median counts. But for the clocks, which make small steps a
little longer, no choice among them, layer by layer, is faster: "(a) / that" is what torch's
products and convolutions allow as they are used here. What is between it and "(a) / bound"
are windows, transforms, pools, dropout and the calls.
"""


def clock(which: int) -> str:
    """Which clock the ratios are from."""
    if which == 0:
        return (
            "Ratios are by wall-clock time: the cores were otherwise idle (in at most a tenth of "
            "the blocks the wall-clock ran over 5 % longer than the CPU time).\n"
        )
    return (
        "Ratios are by CPU time: the machine was busy with other things (in more than a tenth of "
        "the blocks the wall-clock ran over 5 % longer than the CPU time).\n"
    )


def machine(found: dict[str, Any]) -> str:
    """The machine in a paragraph."""
    if not found:
        return ""
    versions = [f"{k} {v}" for k, v in {**found["versions"], **found["libraries"]}.items() if v]
    kind = "virtual machine" if found["virtual"] else "machine"
    return (
        f"## Machine\n\n{found['cpu']}, a {kind} of {found['cores']} cores "
        f"({found['cores used']} used), {found['memory GiB']} GiB of memory, "
        f"{found['instructions']}, {found['system']}. Python {found['python']}, "
        f"{', '.join(versions)}. Load average before: {found['load before']}.\n"
    )
