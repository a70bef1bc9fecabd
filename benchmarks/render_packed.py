"""The tables of the packed engine: what its formulations are worth, and an earlier engine's."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import before
from benchmarks.work import BATCHES, TITLES

Table = Callable[[list[str], list[list[str]]], str]
_CELLS = [f"{model}:{batch}" for model in TITLES for batch in BATCHES]
_NAMES = {"digits": "digits", "alexnet": "AlexNet"}
#: What the names of earlier formulations stood for.
_EARLIER = {
    "rows": "windows laid out once for all convolutions of a step (`rows`)",
    "im": "products with windows as rows (`im`)",
    "fold": "their way back as a sum over places (`fold`)",
    "mk": "torch's convolution, member by member (`mk`)",
    "gr": "one convolution with a group for each member (`gr`)",
    "gr/gr/mk": "the same, the weight's gradient member by member (`gr/gr/mk`)",
    "wg4": "Winograd's convolutions with tiles of four (`wg4`)",
    "weights that move": "weights that move in the backward pass",
    "added velocities": "gradients added to velocities by the products",
}
_WORTH = """\
## What each formulation is worth

The ratio of the best step without a formulation to the best with it, the median over four norms
(none, batch, layer, group), each cell's formulations in turns in one process
([ablation.py](ablation.py)). 1.10 and more in some cell is what keeps one in
[models/packed](../harness/normbench/models/packed/README.md). A pass of the graph is left out of
the best formulation.
"""
_GONE = """\
Before, there were more. Each of these is measured with all the others present, so that two that
serve the same cell are worth little each; a cell in which none was tried with it and without it has
a dash. `im` and `fold` stay as `im2col` with `col2im`, `gr` stays as `grouped`; the others are
gone. In the tables of steps above, plans have these names where they were measured before.
"""
_BEFORE = """\
## Against the packed engine before

Best step of the packed engine at commit {commit}, with all those formulations, by that of today:
processes of both by turns, in each the least median over the formulations that a calibration of its
code tries ([before.py](before.py)), {rounds} rounds. Above 1 today's is the faster; code is removed
down to {bar:.2f}. AlexNet at batch 8 and more was measured before biases left the products, torch's
kernel for batch norm went and flattened images took the plain module's order; digits and AlexNet at
batch 2 before the last of these.
"""


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _titles(cells: list[str]) -> list[str]:
    pairs = (cell.split(":") for cell in cells)
    return [f"{_NAMES[model]}, {batch}" for model, batch in pairs]


def _worths(
    found: Mapping[str, Mapping[str, float]], names: Mapping[str, str], table: Table
) -> str:
    cells = [cell for cell in _CELLS if cell in found]
    rows = [
        [title, *(_number(found[cell].get(kind)) for cell in cells)]
        for kind, title in names.items()
    ]
    return table(["without", *_titles(cells)], rows)


def ablation(store: Path, table: Table) -> list[str]:
    """The section on what formulations and passes are worth."""
    found: dict[str, Any] = json.loads(store.read_text(encoding="utf-8"))
    parts = [_WORTH]
    if found["present"]:
        kinds = {kind: f"`{kind}`" for kind in next(iter(found["present"].values()))}
        parts.append(_worths(found["present"], kinds, table))
    return [*parts, _GONE, _worths(found["before"], _EARLIER, table)]


def against_before(store: Path, table: Table) -> list[str]:
    """The section on the earlier engine's steps and today's."""
    found: dict[str, Any] = json.loads(store.read_text(encoding="utf-8"))
    rows, least = [], []
    for cell in (cell for cell in _CELLS if cell in found["cells"]):
        ratios = before.ratios(found["cells"][cell])
        middle = median(ratios.values())
        if middle < before.BAR:
            least.append(*_titles([cell]))
        plans = [side["batch"][1] for side in found["cells"][cell][-1]]
        rows.append([
            *_titles([cell]), f"{middle:.2f}", *(f"{ratio:.2f}" for ratio in ratios.values()),
            *plans,
        ])  # fmt: skip
    norms = list(next(iter(found["cells"].values()))[0][0])
    head = ["cell, batch size", "median", *norms, "batch norm's plan before", "today"]
    counts = sorted(len(rounds_of) for rounds_of in found["cells"].values())
    rounds = str(counts[0]) if counts[0] == counts[-1] else f"{counts[0]} to {counts[-1]}"
    said = "All reach it." if not least else f"Not reached: {'; '.join(least)}."
    title = _BEFORE.format(commit=found["commit"], rounds=rounds, bar=before.BAR)
    return [title, table(head, rows), said + "\n"]
