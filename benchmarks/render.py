"""README.md from the stored numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks import render_packed, render_sweeps, texts
from benchmarks.summary import (
    Against,
    Spread,
    against_bars,
    clock_of,
    disturbed,
    ratio,
    share_of_peak,
)
from benchmarks.work import LEAST, NORMS, TITLES

RESULTS = Path(__file__).parent / "results"


def table(head: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def met(well: bool) -> str:
    """In words."""
    return "met" if well else "**not met**"


def _spread(spread: Spread) -> str:
    return f"{spread.median:.2f} ({spread.low:.2f}–{spread.high:.2f})"


def _plan(cell: dict[str, Any]) -> str:
    plan = cell["plan"]
    if plan["engine"] == "plain":
        return "plain loop"
    return f"{plan['width']} at once, `{plan['variant'] or 'im2col'}`"


def _bars(found: list[Against]) -> str:
    rows = []
    for one in found:
        share_bar = "–"
        if one.share_bar is not None:
            share_bar = f"{one.share_bar:.2f} ({met(one.share >= one.share_bar)})"
        rows.append(
            [
                TITLES[one.model], str(one.batch), f"{one.ratio:.2f}", f"{one.bar:.1f}",
                met(one.ratio >= one.bar), f"{one.least:.2f} ({one.least_norm})",
                met(one.least >= LEAST), f"{one.share:.2f}", f"{one.share_of_a:.2f}", share_bar,
            ]
        )  # fmt: skip
    head = [
        "model", "batch", "median ratio to (a)", "bar", "", "least norm", f"bar {LEAST}",
        "share of peak", "that of (a)", "bar",
    ]  # fmt: skip
    return table(head, rows)


def _cells(cells: list[dict[str, Any]], model: str, clock: int) -> str:
    order = {norm: i for i, norm in enumerate(NORMS)}
    same = sorted(
        (cell for cell in cells if cell["model"] == model),
        key=lambda cell: (cell["batch"], order[cell["norm"]]),
    )
    rows = [
        [
            str(cell["batch"]), cell["norm"], _spread(ratio(cell, "c", "a", clock)),
            _spread(ratio(cell, "c", "a'", clock)), f"{share_of_peak(cell, 'c', clock):.2f}",
            f"{share_of_peak(cell, 'a', clock):.2f}", _plan(cell),
            str(len(cell["blocks"]["a"])),
        ]
        for cell in same
    ]  # fmt: skip
    head = ["batch", "norm", "ratio to (a)", "ratio to (a′)", "share of peak", "that of (a)",
            "plan", "rounds"]  # fmt: skip
    return table(head, rows)


def _lightning(cells: list[dict[str, Any]], clock: int) -> str:
    with_b = [cell for cell in cells if "b" in cell["blocks"]]
    if not with_b:
        return "Lightning was not installed where this was measured: (b) is left out.\n"
    rows = [
        [
            TITLES[cell["model"]], cell["norm"], str(cell["batch"]),
            _spread(ratio(cell, "c", "b", clock)), _spread(ratio(cell, "a", "b", clock)),
        ]
        for cell in with_b
    ]  # fmt: skip
    return table(["model", "norm", "batch", "(c) to (b)", "(a) to (b)"], rows)


def _steps(content: dict[str, Any]) -> list[str]:
    cells = content["cells"]
    clock = clock_of(cells)
    found = against_bars(cells, clock)
    missed = [one for one in found if not one.met]
    low = [o for o in found if o.share_bar is not None and o.share < o.share_bar]
    unmet = [f"the ratio of the {TITLES[o.model]}, at batch size {o.batch}" for o in missed]
    unmet += [f"the share of peak of the AlexNet at batch size {o.batch}" for o in low]
    verdict = "All bars are met." if not unmet else f"Not met: {'; '.join(unmet)}."
    if content.get("left out"):
        verdict = f"{content['left out']} cells failed and are left out. {verdict}"
    worst = max(content["agreement"].values())
    parts = ["## Steps\n", texts.STEPS.format(worst=f"{worst:.0e}"), texts.clock(clock)]
    parts += [f"Share of disturbed blocks: {disturbed(cells):.0%}.\n"]
    other = against_bars(cells, 1 - clock)
    name = ("CPU time", "wall-clock time")[clock]
    medians = ", ".join(f"{one.ratio:.2f}" for one in other)
    parts += ["### Medians over the norms, against the bars\n", _bars(found), verdict + "\n"]
    parts += [f"The medians in the same order by {name}: {medians}.\n"]
    for model, title in TITLES.items():
        parts += [f"### {title[0].upper()}{title[1:]}\n", _cells(cells, model, clock)]
    return [*parts, "### Lightning\n", texts.LIGHTNING, _lightning(cells, clock)]


def page(content: dict[str, Any]) -> str:
    """The whole page."""
    parts = [texts.TITLE, texts.machine(content.get("machine", {}))]
    if "cells" in content:
        parts += _steps(content)
    if "sweeps" in content:
        parts += render_sweeps.sweeps(content["sweeps"], table, met)
    if "profile" in content:
        parts += render_sweeps.profile(content["profile"], table)
    sections = {"ablation": render_packed.ablation, "before": render_packed.against_before}
    for name, section in sections.items():
        store = RESULTS / f"{name}.json"
        if store.exists():
            parts += section(store, table)
    if content.get("seconds"):
        spent = ", ".join(f"{k} {v / 60:.0f} min" for k, v in content["seconds"].items())
        parts += [f"Time that the measurements took: {spent}.\n"]
    return "\n".join(parts)
