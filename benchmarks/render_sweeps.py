"""The page's parts on whole sweeps and on where the time goes."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from typing import Any

from benchmarks import texts
from benchmarks.work import PEAK_BARS

#: Resident memory that differs by no more is the same: allocators round, and groups differ.
_NOISE = 0.05
Table = Callable[[list[str], list[list[str]]], str]
KINDS = ("convolution", "linear", "norm", "pool", "activation", "dropout", "update")


def _row(name: str, one: dict[str, Any]) -> list[str]:
    outside, evaluating = (
        f"{one[part]:.1%}" if part in one else "–" for part in ("outside", "evaluating")
    )
    return [
        name, str(one["seeds"]), str(one.get("workers", "one per core")),
        f"{one['seconds']:.1f}", outside, evaluating,
        f"{one['main MiB']:.0f}", f"{one['worker MiB']:.0f}", str(one.get("group", "–")),
    ]  # fmt: skip


def _ratios(found: dict[str, Any]) -> list[float]:
    """How many times faster than (a), round by round."""
    pairs = zip(found["script"], found["normbench"], strict=True)
    return [a["seconds"] / c["seconds"] for a, c in pairs]


def _phases(one: dict[str, Any]) -> str:
    """Where a sweep's time goes."""
    phases, whole = one["phases"], one["seconds"]
    start = whole - sum(phases.values()) + phases["start"]
    inside = whole * (1 - one["outside"])
    return (
        f"{whole:.1f} s: {start:.1f} s until runs were chosen and after they were merged (start of "
        f"Python, imports, planning), {phases['form']:.1f} s to measure how to compute each cell, "
        f"{inside:.1f} s of training and evaluation by each worker, "
        f"{phases['compute'] - inside:.1f} s between them (groups made, rows written, the wait for "
        f"the last group), {phases['merge']:.1f} s to merge"
    )


def sweeps(found: dict[str, Any], table: Table, met: Callable[[bool], str]) -> list[str]:
    """Tables and verdicts of the sweeps."""
    ratios = _ratios(found)
    rows = [_row("(a)", one) for one in found["script"]]
    rows += [_row("normbench", one) for one in found["normbench"]]
    rows += [_row("normbench", one) for one in found["long"]]
    head = ["", "seeds", "workers", "seconds",
            "outside training and evaluation", "evaluation / (training + evaluation)",
            "main process, MiB", "largest worker, MiB", "widest group"]  # fmt: skip
    middle = median(ratios)
    said = [
        f"- normbench is {middle:.1f} times faster than (a) ({min(ratios):.1f} to "
        f"{max(ratios):.1f} over {len(ratios)} rounds); bar 5: {met(middle >= 5)}",
    ]
    said.append(f"- of the last one's {_phases(found['normbench'][-1])}")
    if found["long"]:
        half, whole, alone = found["long"]
        twice = whole["seconds"] / half["seconds"]
        second = alone["seconds"] / half["seconds"]
        main = whole["main MiB"] / half["main MiB"] - 1
        worker = whole["worker MiB"] / half["worker MiB"] - 1
        said += [
            f"- outside training and evaluation: {whole['outside']:.1%} of "
            f"{whole['seconds']:.0f} s; bar 5 %: {met(whole['outside'] <= 0.05)}",
            f"- of these {_phases(whole)}",
            f"- twice the seeds cost {twice:.2f} times as much; bar 2.05: {met(twice <= 2.05)}",
            f"- {half['workers']} workers are {second:.2f} times as fast as one; bar 1.8: "
            f"{met(second >= 1.8)}",
            f"- with twice the runs ({half['runs']:,} and {whole['runs']:,}) the main process held "
            f"{main:+.0%} of memory and the largest worker {worker:+.0%}, its widest group being "
            f"{half['group']} and {whole['group']} runs; bar no growth (at most {_NOISE:.0%}): "
            f"{met(main <= _NOISE)} and {met(worker <= _NOISE)}; by half time the larger sweep's "
            f"had held {whole['main MiB by half time']} of {whole['main MiB']} and "
            f"{whole['worker MiB by half time']} of {whole['worker MiB']} MiB: workers grow with "
            "their first groups, and the main process when it merges",
        ]
    if "chapter" in found:
        chapter = found["chapter"]
        rows.append(_row("normbench, `pets.toml`", chapter))
        said.append(
            "- `pets.toml` with 4 epochs, the chapter's experiment: outside training and "
            f"evaluation {chapter['outside']:.1%} (bar 5 %: {met(chapter['outside'] <= 0.05)}); of "
            f"{_phases(chapter)}"
        )
    return ["## Whole sweeps\n", texts.SWEEPS, table(head, rows), "\n".join(said) + "\n"]


def _share(value: float, whole: float) -> str:
    return f"{value / whole:.0%}"


def _of_fastest(cell: dict[str, Any]) -> list[str]:
    """A step with every operation at its fastest, and the ratio that it would have."""
    if cell.get("fastest") is None:
        return ["–", "–"]
    return [f"{cell['fastest'] * 1e3:.3f}", f"{cell['a']['step'] / cell['fastest']:.2f}"]


def profile(cells: list[dict[str, Any]], table: Table) -> list[str]:
    """Where a step's time goes, and how near it is to what bounds it."""
    rows, bounds = [], []
    for cell in cells:
        for name, one in (("(a)", cell["a"]), ("(c)", cell["c"])):
            known = [one[kind] for kind in KINDS if kind in one]
            # what is timed piece by piece runs a little slower than an undisturbed step
            whole = max(one["step"], sum(known))
            shares = [_share(one[kind], whole) if kind in one else "–" for kind in KINDS]
            rest = _share(whole - sum(known), whole) if known else "–"
            laid = _share(one["rows"], whole) if "rows" in one else "–"
            plan = f"{name} `{cell['variant']}` ×{cell['width']}" if "rows" in one else name
            place = [cell["model"], cell["norm"], str(cell["batch"]), plan]
            place.append(f"{one['step'] * 1e3:.3f}")
            rows.append([*place, *shares, rest, laid])
        at_peak = cell["flops"] / cell["peak"]
        ours, a = cell["c"]["step"], cell["a"]["step"]
        bar = f"{PEAK_BARS[cell['batch']]:.2f}" if cell["model"] == "alexnet" else "–"
        bound = cell["products"] + cell["passes"]
        bounds.append(
            [
                cell["model"], cell["norm"], str(cell["batch"]), f"{cell['peak'] / 1e9:.0f}",
                f"{at_peak * 1e3:.3f}", f"{cell['products'] * 1e3:.3f}",
                f"{cell['passes'] * 1e3:.3f}", f"{ours * 1e3:.3f}", f"{bound / ours:.2f}",
                f"{a / ours:.2f}", f"{a / bound:.2f}", *_of_fastest(cell), f"{at_peak / ours:.2f}",
                f"{at_peak / a:.2f}", f"{at_peak / bound:.2f}", bar,
            ]
        )  # fmt: skip
    head = [
        "model",
        "norm",
        "batch",
        "",
        "ms a seed's step",
        *KINDS,
        "rest",
        "of which laid out",
    ]
    bound_head = [
        "model", "norm", "batch", "peak, GFLOP/s", "all at peak, ms",
        "products and update alone, ms", "passes alone, ms", "(c), ms",
        "bound / (c)", "(a) / (c)", "(a) / bound", "each operation at its fastest, ms",
        "(a) / that", "(c)'s share of peak", "(a)'s",
        "the bound's", "bar",
    ]  # fmt: skip
    return [
        "## Where the time goes\n", texts.PROFILE, table(head, rows), texts.BOUNDS,
        table(bound_head, bounds),
    ]  # fmt: skip
