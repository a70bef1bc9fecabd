"""Batch norm under three kinds of statistics: what its loss at small batches is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from normbench.analysis.cells import CellCurves, Grid
from normbench.analysis.curves import Curves, Floats
from normbench.analysis.endpoints import KEYS, final_values, key_columns
from normbench.analysis.pairing import pair
from normbench.analysis.reasons import final_errors
from normbench.analysis.rows import RESULT_COLUMNS, refused_row, result_row
from normbench.protocol.claims import ClaimMetric, Evaluation
from normbench.stats.compare import paired_difference
from normbench.stats.rounding import settled
from normbench.stats.smallbatch import contrast_of

KINDS: tuple[Evaluation, ...] = ("running", "recomputed", "batch")
#: The whole difference to the reference and what it is made of: between which two errors each is.
PARTS: dict[str, tuple[str, str]] = {
    "whole": ("running", "reference"),
    "training": ("recomputed", "reference"),
    "evaluation": ("running", "recomputed"),
}
SPLIT_KEYS = ["experiment", "setting", "norm", "reference", "smallest", "largest", "part"]


@dataclass(frozen=True)
class _Kinds:
    """One cell and its final errors by evaluation kind, shape (seeds,) each."""

    cell: CellCurves
    values: Mapping[Evaluation, Floats]
    diverged: Floats


def _kinds(cell: CellCurves, curves: Curves, window: int) -> _Kinds | None:
    """None where the cell has one kind of evaluation only."""
    metric: ClaimMetric = "val_error" if cell.metric == "accuracy" else "val_loss"
    values: dict[Evaluation, Floats] = {}
    lost = np.zeros(len(cell.seeds))
    for kind in KINDS:
        column = f"val_{kind}_{cell.metric}".replace("running_", "")
        _, matrix = curves.matrix(cell.runs, column)
        if not np.isfinite(matrix[~cell.diverged, -1]).all() or not np.isfinite(matrix).any():
            return None
        _, error = curves.metric(cell.runs, metric, kind)
        own = replace(cell, curves=1.0 - error if cell.metric == "accuracy" else error)
        end = final_values(own, window)
        values[kind], lost = end.values, end.diverged.astype(float)
    return _Kinds(cell, values, lost)


def _rows(found: _Kinds) -> list[dict[str, Any]]:
    return [
        key_columns(found.cell)
        | {"evaluation": kind, "seed": seed, "error": value, "diverged": bool(lost)}
        for kind, values in found.values.items()
        for seed, value, lost in zip(found.cell.seeds, values, found.diverged, strict=True)
    ]


def _split(panel: Grid, found: list[_Kinds], alpha: float) -> list[dict[str, Any]]:
    """The parts of one norm's difference to the reference: fitted over all sizes, and at each."""
    base, norm = panel.series.reference, found[0].cell.norm
    both = [(k, panel.cells.get((base, k.cell.batch_size))) for k in found]
    known = [(k, cell) for k, cell in both if cell is not None]
    groups = [known] if len(known) > 1 and len(known) == len(panel.batch_sizes) else []
    rows = []
    for group in [*groups, *([one] for one in known)]:
        sizes = [k.cell.batch_size for k, _ in group]
        key = {"experiment": panel.series.name, "setting": panel.setting.text, "norm": norm,
               "reference": base, "smallest": min(sizes), "largest": max(sizes)}  # fmt: skip
        pairing = pair([c for k, cell in group for c in (k.cell, cell)], panel.series.seeds)
        for part, (more, less) in PARTS.items():
            estimand = final_errors(more, less)
            if pairing.refusal:
                rows.append(key | {"part": part} | refused_row(pairing.refusal, estimand))
                continue
            sides: tuple[list[Floats], list[Floats]] = ([], [])
            lost = 0
            for i, (kinds, cell) in enumerate(group):
                mine, theirs = pairing.picks[2 * i], pairing.picks[2 * i + 1]
                end = final_values(cell, panel.series.window)
                errors = {str(k): v[mine] for k, v in kinds.values.items()}
                errors["reference"] = end.values[theirs]
                sides[0].append(errors[more])
                sides[1].append(-errors[less])
                lost += int(kinds.diverged[mine].sum() + end.diverged[theirs].sum())
            terms = [np.stack(side, axis=1) for side in sides]
            d = settled(terms).ravel()
            if len(sizes) > 1:
                d = contrast_of(terms, sizes) * (1 / min(sizes) - 1 / max(sizes))
            result = paired_difference(d, alpha=alpha, diverged=lost, estimand=estimand)
            rows.append(key | {"part": part, "diverged": lost} | result_row(result, pairing.notes))
    return rows


def evaluation_tables(panels: list[Grid], curves: Curves, alpha: float) -> dict[str, pd.DataFrame]:
    """The tables ``evaluations`` and ``evaluation_split``.

    ``evaluations``: the final error of every run of batch norm under each kind of statistics.
    ``evaluation_split``: per batch size, and as the fitted rise from the largest to the smallest,
    batch norm's error minus the reference's (``whole``), of which ``training`` remains when the
    statistics are recomputed after training, and ``evaluation`` vanishes with that.
    """
    rows, split = [], []
    for panel in panels:
        for norm in panel.norms:
            cells = [panel.cells.get((norm, size)) for size in panel.batch_sizes]
            given = [_kinds(c, curves, panel.series.window) for c in cells if c is not None]
            found = [k for k in given if k is not None]
            rows += [row for k in found for row in _rows(k)]
            if found and norm != panel.series.reference:
                split += _split(panel, found, alpha)
    return {
        "evaluations": pd.DataFrame(
            rows, columns=[*KEYS, "evaluation", "seed", "error", "diverged"]
        ),
        "evaluation_split": pd.DataFrame(split, columns=[*SPLIT_KEYS, *RESULT_COLUMNS, "diverged"]),
    }
