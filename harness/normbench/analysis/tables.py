"""The tables of the report: completeness, curves, times, comparisons, small batches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from normbench.analysis.cells import CellCurves, Panel, panels
from normbench.analysis.claims import claim_table
from normbench.analysis.curves import Curves
from normbench.analysis.tuning import rate_choices, tuning_table
from normbench.results.files import atomic_write
from normbench.results.load import Results
from normbench.results.schema import STATUSES
from normbench.stats.compare import paired
from normbench.stats.durations import (
    fraction_reached,
    restricted_mean_difference,
)
from normbench.stats.outcome import Endpoint, endpoint_values
from normbench.stats.refusals import complete_blocks
from normbench.stats.result import Result
from normbench.stats.smallbatch import inverse_batch_contrast
from normbench.stats.speed import RestrictedTimes, restricted_time

KEYS = ["experiment", "setting", "norm", "batch_size"]
RESULT_COLUMNS = [
    "estimate", "low", "high", "level", "p", "n", "refusal", "warnings", "assumptions", "estimand",
]  # fmt: skip


@dataclass(frozen=True)
class Analysis:
    """All tables of a study, by name."""

    tables: dict[str, pd.DataFrame]

    def __getitem__(self, name: str) -> pd.DataFrame:
        return self.tables[name]

    def save(self, folder: Path) -> list[Path]:
        """Write every table as CSV and as parquet; returns the CSV files."""
        folder.mkdir(parents=True, exist_ok=True)
        written = []
        for name, table in self.tables.items():
            for ending, write in _writers(table).items():
                atomic_write(folder / f"{name}.{ending}", write)
            written.append(folder / f"{name}.csv")
        return written


def _writers(table: pd.DataFrame) -> dict[str, Callable[[Path], None]]:
    return {
        "csv": lambda path: table.to_csv(path, index=False, lineterminator="\n"),
        "parquet": lambda path: table.to_parquet(path, index=False),
    }


def result_row(result: Result) -> dict[str, Any]:
    """A statistical result as columns; nothing that a reader must know is left out."""
    low, high = result.interval if result.interval is not None else (np.nan, np.nan)
    return {
        "estimate": result.estimate,
        "low": low,
        "high": high,
        "level": np.nan if result.level is None else result.level,
        "p": np.nan if result.p is None else result.p,
        "n": result.n,
        "refusal": result.refusal or "",
        "warnings": "; ".join(result.warnings),
        "assumptions": "; ".join(result.assumptions),
        "estimand": result.estimand,
    }


def _frame(rows: list[dict[str, Any]], columns: list[str]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=columns)


def _keys(cell: CellCurves) -> dict[str, Any]:
    return {
        "experiment": cell.experiment,
        "setting": cell.setting,
        "norm": cell.norm,
        "batch_size": cell.batch_size,
    }


def completeness(results: Results) -> pd.DataFrame:
    """Runs by status, a row per experiment, norm and batch size; every planned run counts once."""
    counts = (
        results.runs.groupby(["experiment", "norm", "batch_size", "status"], sort=False)
        .size()
        .unstack("status", fill_value=0)
    )
    counts = counts.reindex(columns=list(STATUSES), fill_value=0)
    counts.insert(0, "planned", counts.sum(axis=1))
    counts.columns.name = None
    return counts.reset_index()


def final_values(cell: CellCurves, window: int) -> Endpoint:
    """The ``final`` endpoint of a cell: the mean error of the last ``window`` evaluations."""
    return endpoint_values(
        "final",
        cell.x,
        cell.error,
        goal="min",
        window=window,
        failure_score=cell.failure_score,
        diverged=cell.diverged,
    )


def times(cell: CellCurves, threshold: float, window: int) -> RestrictedTimes:
    """The restricted time to a threshold of every run of a cell, in epochs."""
    return restricted_time(
        cell.x,
        cell.curves,
        threshold,
        goal=cell.goal,  # type: ignore[arg-type]
        budget=cell.budget,
        window=window,
        diverged=cell.diverged,
    )


def curve_table(all_panels: list[Panel]) -> pd.DataFrame:
    """Median and 10 to 90 % quantiles over seeds of the validation metric, per evaluation."""
    columns = [*KEYS, "metric", "epoch", "median", "low", "high", "runs", "diverged"]
    rows = []
    for panel in all_panels:
        for cell in panel.cells.values():
            for x, values in zip(cell.x, cell.curves.T, strict=True):
                alive = values[np.isfinite(values)]
                low, median, high = (
                    np.quantile(alive, [0.1, 0.5, 0.9]) if alive.size else [np.nan] * 3
                )
                row = {"metric": cell.metric, "epoch": x, "median": median, "low": low}
                row |= {"high": high, "runs": alive.size, "diverged": len(values) - alive.size}
                rows.append(_keys(cell) | row)
    return _frame(rows, columns)


def final_table(all_panels: list[Panel]) -> pd.DataFrame:
    """The final validation error of every run; diverged runs count with the failure score."""
    rows = []
    for panel in all_panels:
        for cell in panel.cells.values():
            endpoint = final_values(cell, panel.series.window)
            for seed, value, diverged in zip(
                cell.seeds, endpoint.values, endpoint.diverged, strict=True
            ):
                row = {"seed": seed, "error": value, "diverged": bool(diverged)}
                rows.append(_keys(cell) | row)
    return _frame(rows, [*KEYS, "seed", "error", "diverged"])


def time_table(all_panels: list[Panel]) -> pd.DataFrame:
    """Per cell and threshold: the restricted mean time and how many runs reached it."""
    columns = [*KEYS, "threshold", "restricted_mean", "budget", "reached", "runs", "fraction",
               "fraction_low", "fraction_high", "diverged"]  # fmt: skip
    rows = []
    for panel in all_panels:
        for cell in panel.cells.values():
            for theta in panel.series.thresholds:
                found = times(cell, theta, panel.series.window)
                share = fraction_reached(found.reached)
                low, high = share.interval or (np.nan, np.nan)
                row = {
                    "threshold": theta,
                    "restricted_mean": float(found.time.mean()),
                    "budget": cell.budget,
                    "reached": int(found.reached.sum()),
                    "runs": len(cell.seeds),
                    "fraction": share.estimate,
                    "fraction_low": low,
                    "fraction_high": high,
                    "diverged": int(cell.diverged.sum()),
                }
                rows.append(_keys(cell) | row)
    return _frame(rows, columns)


@dataclass(frozen=True)
class _Paired:
    """Values of several cells over the seeds that all of them have."""

    rows: np.ndarray[Any, np.dtype[np.bool_]]
    picks: list[list[int]]
    notes: tuple[str, ...]
    refusal: str | None


def _common_seeds(cells: list[CellCurves], planned: tuple[int, ...]) -> _Paired:
    """Which runs of each cell belong to seeds that every cell has; lost seeds are told."""
    present = np.array([[s in set(c.seeds) for c in cells] for s in planned], dtype=bool)
    names = [f"{c.norm} at batch size {c.batch_size}" for c in cells]
    blocks = complete_blocks(np.where(present, 0.0, np.nan), names, list(planned))
    refusal = blocks.refusal
    if refusal is None and not blocks.kept.all():
        refusal = blocks.notes[0]
    seeds = [s for s, keep in zip(planned, blocks.seeds, strict=True) if keep]
    picks = [[c.seeds.index(s) for s in seeds if s in c.seeds] for c in cells]
    return _Paired(blocks.seeds, picks, blocks.notes, refusal)


def _refused(reason: str, estimand: str) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(RESULT_COLUMNS, np.nan)
    return row | {
        "n": 0, "refusal": reason, "warnings": "", "assumptions": "", "estimand": estimand,
    }  # fmt: skip


def _compare_final(cell: CellCurves, reference: CellCurves, panel: Panel, alpha: float) -> Any:
    pair = _common_seeds([cell, reference], panel.series.seeds)
    if pair.refusal is not None:
        return _refused(pair.refusal, "difference of the final errors")
    ends = [final_values(c, panel.series.window) for c in (cell, reference)]
    (a, b), (da, db) = (
        [getattr(e, name)[pick] for e, pick in zip(ends, pair.picks, strict=True)]
        for name in ("values", "diverged")
    )
    result = paired(
        a, b, goal="min", alpha=alpha, diverged_a=da, diverged_b=db,
        labels=(cell.norm, reference.norm), metric=f"final validation {_error_name(cell)}",
    )  # fmt: skip
    row = result_row(result)
    row["warnings"] = "; ".join([*result.warnings, *pair.notes])
    return row


def _compare_time(
    cell: CellCurves, reference: CellCurves, panel: Panel, theta: float, alpha: float
) -> Any:
    pair = _common_seeds([cell, reference], panel.series.seeds)
    if pair.refusal is not None:
        return _refused(pair.refusal, "difference of the restricted mean times")
    found = [times(c, theta, panel.series.window) for c in (cell, reference)]
    a, b = (f.time[pick] for f, pick in zip(found, pair.picks, strict=True))
    lost = sum(int(f.diverged[pick].sum()) for f, pick in zip(found, pair.picks, strict=True))
    result = restricted_mean_difference(a, b, budget=cell.budget, alpha=alpha, diverged=lost)
    row = result_row(result)
    row["warnings"] = "; ".join([*result.warnings, *pair.notes])
    return row


def _error_name(cell: CellCurves) -> str:
    return "error" if cell.metric == "accuracy" else "loss"


def comparison_table(all_panels: list[Panel], alpha: float) -> pd.DataFrame:
    """Every norm against the experiment's reference, at each batch size, seed by seed.

    Positive estimates mean that the norm is better than the reference: its final error is
    lower, or it reaches the threshold earlier. The p-values are of single comparisons.
    """
    columns = [*KEYS, "reference", "endpoint", "threshold", *RESULT_COLUMNS]
    rows = []
    for panel in all_panels:
        base = panel.series.reference
        for (norm, batch), cell in panel.cells.items():
            reference = panel.cells.get((base, batch))
            if norm == base or reference is None:
                continue
            key = _keys(cell) | {"reference": base}
            row = _compare_final(cell, reference, panel, alpha)
            rows.append(key | {"endpoint": "final", "threshold": np.nan} | row)
            for theta in panel.series.thresholds:
                row = _compare_time(cell, reference, panel, theta, alpha)
                rows.append(key | {"endpoint": "time", "threshold": theta} | row)
    return _frame(rows, columns)


def degradation_table(all_panels: list[Panel], alpha: float) -> pd.DataFrame:
    """How much more each norm loses than the reference as the batch shrinks.

    The estimate is the fitted extra error from the largest to the smallest batch size
    (STATISTICS, section 4); positive means that the norm degrades more than the reference.
    """
    columns = ["experiment", "setting", "norm", "reference", "smallest", "largest",
               "difference_in_differences", *RESULT_COLUMNS]  # fmt: skip
    rows = []
    for panel in all_panels:
        base, sizes = panel.series.reference, panel.batch_sizes
        if len(sizes) < 2:
            continue
        for norm in panel.norms:
            if norm == base:
                continue
            key = {"experiment": panel.series.name, "setting": panel.setting, "norm": norm,
                   "reference": base, "smallest": sizes[0], "largest": sizes[-1]}  # fmt: skip
            rows.append(key | _degradation(panel, norm, base, sizes, alpha))
    return _frame(rows, columns)


def _degradation(panel: Panel, norm: str, base: str, sizes: list[int], alpha: float) -> Any:
    both = [panel.cells.get((name, b)) for name in (norm, base) for b in sizes]
    cells = [c for c in both if c is not None]
    estimand = "extra error from the largest to the smallest batch size"
    if len(cells) < len(both):
        return _refused("a batch size has no runs for one of the norms", estimand)
    pair = _common_seeds(cells, panel.series.seeds)
    if pair.refusal is not None:
        return _refused(pair.refusal, estimand)
    ends = [final_values(c, panel.series.window) for c in cells]
    values = np.array([e.values[p] for e, p in zip(ends, pair.picks, strict=True)]).T
    lost = sum(int(e.diverged[p].sum()) for e, p in zip(ends, pair.picks, strict=True))
    k = len(sizes)
    result = inverse_batch_contrast(
        values[:, :k], values[:, k:], sizes, goal="min", alpha=alpha, diverged=lost,
        labels=(norm, base),
    )  # fmt: skip
    row = result_row(result)
    row["warnings"] = "; ".join([*result.warnings, *pair.notes])
    row["difference_in_differences"] = result.details["difference_in_differences"]
    return row


def analyse(results: Results) -> Analysis:
    """All tables of a study.

    The same results give byte-identical tables: nothing is drawn without a fixed seed and
    nothing depends on the machine.
    """
    alpha = results.study.alpha
    curves = Curves(results.epochs)
    found = list(panels(results, curves))
    tuning = tuning_table(results, curves)
    return Analysis(
        {
            "claims": claim_table(results, curves),
            "completeness": completeness(results),
            "curves": curve_table(found),
            "final": final_table(found),
            "times": time_table(found),
            "comparisons": comparison_table(found, alpha),
            "degradation": degradation_table(found, alpha),
            "tuning": tuning,
            "learning_rates": rate_choices(tuning),
        }
    )
