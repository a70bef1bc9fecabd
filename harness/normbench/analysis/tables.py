"""The tables of the report: completeness, curves, times, comparisons, small batches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import numpy as np
import pandas as pd

from normbench.analysis.by_experiment import ByExperiment
from normbench.analysis.cells import Grid
from normbench.analysis.claimed_pairs import with_claims
from normbench.analysis.claims import claim_table
from normbench.analysis.comparisons import comparison_table
from normbench.analysis.curves import Floats, computed_curves
from normbench.analysis.endpoints import KEYS, final_values, key_columns, times
from normbench.analysis.evaluations import evaluation_tables
from normbench.analysis.export import to_csv
from normbench.analysis.findings import declared_margins
from normbench.analysis.input_norm import input_norm_table
from normbench.analysis.invariance import invariance_table
from normbench.analysis.mechanisms import mechanism_table, probe_cost_table
from normbench.analysis.noise import noise_table
from normbench.analysis.pairs import pair_table
from normbench.analysis.profile import profile_table
from normbench.analysis.scale import scale_tables
from normbench.analysis.seconds import Timings, cost_table, time_columns, timings_by_cell
from normbench.analysis.settings import settings
from normbench.analysis.small_batch import small_batch_tables
from normbench.analysis.tuning import rate_choices, tuning_table
from normbench.results.files import atomic_write, make_folder
from normbench.results.load import Results
from normbench.results.look import wrapped
from normbench.results.schema import STATUSES
from normbench.stats.divergence import clopper_pearson
from normbench.stats.durations import fraction_reached


@dataclass(frozen=True)
class Analysis:
    """All tables of a study, by name.

    ``refusals`` say which experiments are missing in which tables and why, ``bugs`` what could not
    be made for no reason in the data.
    """

    tables: dict[str, pd.DataFrame]
    bugs: list[str] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)

    def __getitem__(self, name: str) -> pd.DataFrame:
        return self.tables[name]

    def __repr__(self) -> str:
        runs = self.tables["completeness"] if "completeness" in self.tables else pd.DataFrame()
        counts = [f"{int(runs[s].sum()):,} {s}" for s in STATUSES if s in runs and runs[s].sum()]
        shapes = [f"{name} {len(t):,}×{t.shape[1]}" for name, t in self.tables.items()]
        lines = [
            f"normbench analysis: {len(self.tables)} tables, each a pandas frame by its name",
            f"  runs: {', '.join(counts) or 'none'}",
            *wrapped("  tables (rows × columns): ", shapes, 6),
            '  next: analysis["claims"] for verdicts, analysis["comparisons"] for differences, '
            "analysis.save(folder)",
        ]
        return "\n".join(lines)

    def save(self, folder: Path) -> list[Path]:
        """Write every table as CSV and as parquet; returns the CSV files."""
        make_folder(folder)
        written = []
        for name, table in self.tables.items():
            for ending, write in _writers(table).items():
                atomic_write(folder / f"{name}.{ending}", write)
            written.append(folder / f"{name}.csv")
        return written


def _writers(table: pd.DataFrame) -> dict[str, Callable[[IO[bytes]], object]]:
    if "caveats" in table:
        table = table.assign(caveats=table["caveats"].map(", ".join))
    return {
        "csv": lambda file: file.write(to_csv(table).encode("utf-8", "replace")),
        "parquet": lambda file: table.to_parquet(file, index=False),
    }


def completeness(results: Results) -> pd.DataFrame:
    """Runs by status, a row per cell; every planned run counts once."""
    runs = results.runs
    found = [settings(runs[runs["experiment"] == e.name], e)[0] for e in results.study.experiments]
    setting = pd.concat(found) if found else ""
    counts = (
        runs.assign(setting=setting)
        .groupby([*KEYS, "status"], sort=False)
        .size()
        .unstack("status", fill_value=0)
    )
    counts = counts.reindex(columns=list(STATUSES), fill_value=0)
    counts.insert(0, "planned", counts.sum(axis=1))
    counts.columns.name = None
    return counts.reset_index()


def divergence_table(all_panels: list[Grid], alpha: float) -> pd.DataFrame:
    """Per cell: how many runs diverged, and the Clopper–Pearson interval of that share."""
    columns = [*KEYS, "diverged", "runs", "share", "low", "high", "level"]
    rows = []
    for panel in all_panels:
        for cell in panel.cells.values():
            k, n = int(cell.diverged.sum()), len(cell.seeds)
            low, high = clopper_pearson(k, n, alpha)
            row = {"diverged": k, "runs": n, "share": k / n, "low": low, "high": high}
            rows.append(key_columns(cell) | row | {"level": 1 - alpha})
    return pd.DataFrame(rows, columns=columns)


def _quantiles(values: Floats, alive: Floats) -> list[Floats]:
    """The 10, 50 and 90 % quantiles of each column; NaN where no run is alive."""
    found = np.full((3, values.shape[1]), np.nan)
    levels = [0.1, 0.5, 0.9]
    whole = alive == len(values)
    some = (alive > 0) & ~whole
    if whole.any():
        found[:, whole] = np.quantile(values[:, whole], levels, axis=0)
    if some.any():  # much slower, and only needed from a divergence on
        found[:, some] = np.nanquantile(values[:, some], levels, axis=0)
    return list(found)


def curve_table(all_panels: list[Grid]) -> pd.DataFrame:
    """Median and 10 to 90 % quantiles over seeds of the validation metric, per evaluation."""
    columns = [*KEYS, "metric", "epoch", "median", "low", "high", "runs", "diverged"]
    rows = []
    for panel in all_panels:
        for cell in panel.cells.values():
            key = key_columns(cell)
            finite = np.isfinite(cell.curves)
            alive = finite.sum(axis=0)
            low, median, high = _quantiles(np.where(finite, cell.curves, np.nan), alive)
            for i, x in enumerate(cell.x):
                row = {"metric": cell.metric, "epoch": x, "median": median[i], "low": low[i]}
                row |= {"high": high[i], "runs": alive[i], "diverged": len(finite) - alive[i]}
                rows.append(key | row)
    return pd.DataFrame(rows, columns=columns)


def final_table(all_panels: list[Grid]) -> pd.DataFrame:
    """The final validation error of every run; diverged runs count with the failure score."""
    rows = []
    for panel in all_panels:
        for cell in panel.cells.values():
            endpoint = final_values(cell, panel.series.window)
            for seed, value, diverged in zip(
                cell.seeds, endpoint.values, endpoint.diverged, strict=True
            ):
                row = {"seed": seed, "error": value, "diverged": bool(diverged)}
                rows.append(key_columns(cell) | row)
    return pd.DataFrame(rows, columns=[*KEYS, "seed", "error", "diverged"])


def time_tables(all_panels: list[Grid], timings: Timings, alpha: float) -> dict[str, pd.DataFrame]:
    """The tables ``times``, per cell and threshold, and ``run_times``, the same run by run.

    ``times`` holds the restricted mean time and how many runs reached the threshold.
    ``restricted_mean``, its interval and ``budget`` are in epochs; see
    :func:`~normbench.analysis.seconds.time_columns` for the same in steps, samples and seconds.
    """
    columns = [*KEYS, "threshold", "restricted_mean", "low", "high", "budget", "steps", "samples",
               "seconds", "seconds_low", "seconds_high", "reached", "runs", "fraction",
               "fraction_low", "fraction_high", "diverged"]  # fmt: skip
    rows, single = [], []
    for panel in all_panels:
        for cell in panel.cells.values():
            for theta in panel.series.thresholds:
                found = times(cell, theta, panel.series.window)
                single.append(
                    pd.DataFrame(
                        key_columns(cell)
                        | {
                            "threshold": theta,
                            "seed": cell.seeds,
                            "time": found.time,
                            "reached": found.reached,
                            "diverged": found.diverged,
                        }
                    )
                )
                share = fraction_reached(found.reached, alpha=alpha)
                low, high = share.interval or (np.nan, np.nan)
                row = time_columns(cell, found.time, timings, alpha) | {
                    "threshold": theta,
                    "reached": int(found.reached.sum()),
                    "runs": len(cell.seeds),
                    "fraction": share.estimate,
                    "fraction_low": low,
                    "fraction_high": high,
                    "diverged": int(cell.diverged.sum()),
                }
                rows.append(key_columns(cell) | row)
    empty = pd.DataFrame(columns=[*KEYS, "threshold", "seed", "time", "reached", "diverged"])
    return {
        "times": pd.DataFrame(rows, columns=columns),
        "run_times": pd.concat(single, ignore_index=True) if single else empty,
    }


def analyse(results: Results) -> Analysis:
    """All tables of a study.

    The same results give byte-identical tables: nothing is drawn without a fixed seed and
    nothing depends on the machine. Raises :class:`~normbench.errors.ResultsError` where no run
    has been computed yet, or where the evaluations of one are gone.
    """
    alpha = results.study.alpha
    curves = computed_curves(results)
    timings = timings_by_cell(results.timings)
    tables = ByExperiment.read(results, curves)
    tuning = tables.named("tuning", lambda own: {"": tuning_table(results, curves, own)})[""]
    claims = claim_table(results, curves, tables.boundary)
    every = [panel for some in tables.panels.values() for panel in some]
    pairs = tables.of("pairs", lambda some: pair_table(some, alpha))
    pairs = with_claims(pairs, claims, results, every)
    margins = declared_margins(results.study)
    return Analysis(
        {
            "claims": claims,
            "completeness": completeness(results),
            "curves": tables.of("learning curves", curve_table),
            "final": tables.of("final errors", final_table),
            **tables.several("times", lambda some: time_tables(some, timings, alpha)),
            "profile": tables.of("profiles", lambda some: profile_table(some, alpha)),
            "costs": tables.of("costs", lambda some: cost_table(some, timings, alpha)),
            "comparisons": tables.of("comparisons", lambda some: comparison_table(some, alpha)),
            "pairs": pairs,
            **tables.several(
                "small batches", lambda some: small_batch_tables(some, alpha, pairs, margins)
            ),
            **tables.several(
                "kinds of statistics", lambda some: evaluation_tables(some, curves, alpha)
            ),
            "invariance": tables.of("invariance", lambda some: invariance_table(some, alpha)),
            "input_norm": tables.of(
                "input normalization", lambda some: input_norm_table(some, alpha)
            ),
            **tables.several("scales", lambda some: scale_tables(results, some, alpha)),
            "mechanisms": tables.of("mechanisms", lambda some: mechanism_table(results, some)),
            "probe_costs": tables.of("probe costs", lambda some: probe_cost_table(results, some)),
            "divergence": tables.of("divergence", lambda some: divergence_table(some, alpha)),
            **tables.named("noise", lambda own: {"noise": noise_table(results, own)}),
            "tuning": tuning,
            "learning_rates": rate_choices(tuning),
        },
        tables.boundary.bugs,
        tables.refusals,
    )
