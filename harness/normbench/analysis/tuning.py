"""Learning rates: how the grid scored on the tuning seeds, and what is chosen from it."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

import numpy as np
import pandas as pd

from normbench.analysis.cells import Computed
from normbench.analysis.curves import Curves
from normbench.analysis.endpoints import final_error
from normbench.plan.decisions import cell_key, grid
from normbench.plan.spec import cell_hash
from normbench.protocol.schema import Cell
from normbench.protocol.study import Experiment
from normbench.protocol.tables import Tune
from normbench.results.load import Results
from normbench.results.schema import axis_values
from normbench.stats.outcome import blind_score
from normbench.stats.rounding import difference, settled

COLUMNS = ["experiment", "cell_key", "model", "norm", "batch_size", "learning_rate", "mean", "loss",
           "runs", "planned", "diverged", "stable", "chosen", "next"]  # fmt: skip


def _scores(
    series: Experiment,
    cell: Cell,
    tune: Tune,
    runs: pd.DataFrame,
    curves: Curves,
    results: Results,
) -> Iterator[dict[str, Any]]:
    values, code = axis_values(cell), results.code
    for rate in sorted(grid(cell, series, results.decisions, code)):
        key = cell_hash(cell.model_copy(update={"learning_rate": rate}), code)
        own = runs[(runs["cell_hash"] == key) & runs["seed"].isin(tune.seeds)]
        done, mean, loss = Computed.of(own, {}), np.nan, np.inf
        if done is not None:
            by_loss = series.metric == "loss"
            x, errors = curves.metric(done.runs, "val_loss" if by_loss else "val_error")
            chance = blind_score(by_loss, done.classes, done.label_variance)
            final = final_error(x, errors, done.diverged, chance, series.window)
            mean = float(final.values.mean())
            last = curves.metric(done.runs, "val_loss")[1][:, -1]
            loss = float(np.where(done.diverged, np.inf, last).mean())
        yield {
            "experiment": series.name,
            "cell_key": cell_key(cell, code),
            "model": values["model"],
            "norm": values["norm"],
            "batch_size": cell.batch_size,
            "learning_rate": rate,
            "mean": mean,
            "loss": loss,
            "runs": 0 if done is None else len(done.seeds),
            "planned": len(tune.seeds),
            "diverged": 0 if done is None else int(done.diverged.sum()),
        }


#: What a widened grid gets beyond its edge, as a factor.
WIDER = 3.0


def _choose(rows: list[dict[str, Any]], tune: Tune) -> None:
    """Mark the chosen and the stable rates of one cell, if its tuning runs are complete.

    Nothing is chosen at an edge of a grid that may still be widened.
    """
    for row in rows:
        row |= {"stable": False, "chosen": False, "next": np.nan}
    if any(row["runs"] < row["planned"] for row in rows):
        return
    least = min(row["mean"] for row in rows)
    best = next(row for row in rows if not difference(row["mean"], least) > 0)  # from low to high
    outward = _outward(rows, best) if len(rows) < len(tune.learning_rate) + tune.widen else None
    if outward is not None:
        best["next"] = float(f"{outward:.6g}")
    else:
        best["chosen"] = True
    for row in rows:
        close = not settled([row["mean"], -least, -tune.stable_within]) > 0
        row["stable"] = bool(close and row["diverged"] == 0)


def _outward(rows: list[dict[str, Any]], best: dict[str, Any]) -> float | None:
    """The rate beyond the edge at which the best rate of a grid is; None where it is inside.

    Where no rate does better than another, as where none learns, the losses tell which way.
    """
    if not any(difference(row["mean"], best["mean"]) > 0 for row in rows):
        best = min(rows, key=lambda row: row["loss"])
    if best is rows[0]:
        return float(best["learning_rate"]) / WIDER
    return float(best["learning_rate"]) * WIDER if best is rows[-1] else None


def tuning_table(
    results: Results, curves: Curves | None = None, only: Collection[str] | None = None
) -> pd.DataFrame:
    """A row per tuned cell and learning rate: its mean score, divergences, whether chosen.

    ``mean`` is the mean final validation error (or loss) over the tuning seeds, a diverged run
    counting with the error of chance; ties go to the lower rate. ``loss`` is the mean last
    validation loss, infinite where a run diverged. ``next`` is the rate with which
    the grid is to be widened beyond its best, NaN where it is not. ``only`` names the experiments
    (default: all).
    """
    curves = Curves(results.epochs) if curves is None else curves
    rows: list[dict[str, Any]] = []
    for series in results.study.experiments:
        if series.tune is None or (only is not None and series.name not in only):
            continue
        runs = results.runs[
            (results.runs["experiment"] == series.name) & (results.runs["phase"] == "tuning")
        ]
        for cell in series.tuned_cells:
            own = list(_scores(series, cell, series.tune, runs, curves, results))
            _choose(own, series.tune)
            rows += own
    return pd.DataFrame(rows, columns=COLUMNS)


def rate_choices(table: pd.DataFrame) -> pd.DataFrame:
    """A row per decided cell: the chosen rate, whether it is an edge of the grid, the stable range.

    The stable range is the run of neighbouring stable rates around the chosen one;
    ``stable_octaves`` is its width in factors of two, at least, where it ends at the grid's edge.
    """
    rows = []
    # experiments may share a cell, and its choice
    for (_, key), part in table.groupby(["experiment", "cell_key"], sort=False):
        ordered = part.sort_values("learning_rate").reset_index(drop=True)
        if not ordered["chosen"].any():
            continue
        at = int(np.flatnonzero(ordered["chosen"])[0])
        stable = ordered["stable"].to_numpy(dtype=bool)
        rates = ordered["learning_rate"].to_numpy(dtype=float)
        first = last = at
        while first > 0 and stable[first - 1]:
            first -= 1
        while last < len(rates) - 1 and stable[last + 1]:
            last += 1
        edge = "lowest" if at == 0 else "highest" if at == len(rates) - 1 else ""
        row: dict[str, Any] = ordered.to_dict("records")[at]  # type: ignore[assignment]
        rows.append(
            {
                "experiment": row["experiment"],
                "cell_key": key,
                "model": row["model"],
                "norm": row["norm"],
                "batch_size": int(row["batch_size"]),
                "learning_rate": float(rates[at]),
                "mean": float(row["mean"]),
                "edge_of_grid": edge,
                "stable_low": float(rates[first]),
                "stable_high": float(rates[last]),
                "stable_octaves": float(np.log2(rates[last] / rates[first])),
            }
        )
    columns = ["experiment", "cell_key", "model", "norm", "batch_size", "learning_rate", "mean",
               "edge_of_grid", "stable_low", "stable_high", "stable_octaves"]  # fmt: skip
    return pd.DataFrame(rows, columns=columns)


def choose_rates(table: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """The choice of every cell whose tuning runs are complete, by the cell's key."""
    choices = rate_choices(table)
    return {str(row.pop("cell_key")): row for row in choices.to_dict("records")}  # type: ignore[misc]


def wider_grids(table: pd.DataFrame) -> dict[str, float]:
    """The rate that a cell's grid is to get besides, by the cell's key."""
    wider = table[table["next"].notna()]
    return {str(k): float(v) for k, v in zip(wider["cell_key"], wider["next"], strict=True)}
