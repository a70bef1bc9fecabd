"""The curves of each cell as arrays: seeds by evaluations, ready for the statistics."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from normbench.analysis.curves import Curves, Floats
from normbench.analysis.settings import Setting, settings
from normbench.protocol.claims import ClaimMetric
from normbench.protocol.study import Experiment
from normbench.results.load import Results
from normbench.results.schema import DONE
from normbench.stats.outcome import blind_score

_METRICS: dict[str, ClaimMetric] = {"accuracy": "val_accuracy", "loss": "val_loss"}


def cell_label(norm: str, batch_size: int, others: str = "") -> str:
    """A cell as refusals and notes call it."""
    return f"{norm} at batch size {batch_size}" + (f" ({others})" if others else "")


@dataclass(frozen=True)
class CellCurves:
    """One cell's validation curves.

    ``curves`` has shape (seeds, evaluations) with NaN where a run has no value, ``x`` the
    evaluations' epochs. ``error`` is the curve whose smaller values are better: one minus the
    accuracy, or the loss. ``steps_per_epoch`` is None where no run took a step, ``runs`` are the
    runs' hashes in the order of the seeds.
    """

    experiment: str
    setting: str
    norm: str
    batch_size: int
    budget: float
    seeds: tuple[int, ...]
    x: Floats
    curves: Floats
    diverged: NDArray[np.bool_]
    environments: tuple[str, ...]
    planned: int
    metric: str
    classes: int
    cell_hash: str = ""
    steps_per_epoch: int | None = None
    samples_per_step: int = 0
    runs: tuple[str, ...] = ()
    label_variance: float | None = None

    @property
    def label(self) -> str:
        """The cell by its norm and batch size."""
        return cell_label(self.norm, self.batch_size)

    @cached_property
    def environment(self) -> dict[int, str]:
        """Where the run of each seed was made."""
        return dict(zip(self.seeds, self.environments, strict=True))

    @property
    def error(self) -> Floats:
        """The curves with smaller values better: accuracy as error."""
        return 1.0 - self.curves if self.metric == "accuracy" else self.curves

    @property
    def failure_score(self) -> float:
        """The error of a prediction that ignores the inputs, which a diverged run counts with."""
        return blind_score(self.metric == "loss", self.classes, self.label_variance)

    @property
    def goal(self) -> str:
        """Whether larger or smaller values of the metric are better."""
        return "max" if self.metric == "accuracy" else "min"


@dataclass(frozen=True)
class Grid:
    """The cells of one experiment that differ in norm and batch size alone."""

    series: Experiment
    setting: Setting
    cells: dict[tuple[str, int], CellCurves]

    @property
    def norms(self) -> list[str]:
        """The norms in the protocol's order."""
        return list(dict.fromkeys(norm for norm, _ in self.cells))

    @property
    def batch_sizes(self) -> list[int]:
        """The batch sizes, increasing."""
        return sorted({batch for _, batch in self.cells})


def regression_experiments(runs: pd.DataFrame) -> set[str]:
    """The experiments whose runs are regressions."""
    return set(runs.loc[runs["label_variance"].notna(), "experiment"])


def label_variance_of(runs: pd.DataFrame) -> float | None:
    """The variance of the training labels of a cell's runs; None in a classification."""
    found = runs["label_variance"].dropna()
    return None if found.empty else float(found.iloc[0])


def budget_in_epochs(axes: Mapping[Any, Any], steps_per_epoch: int | None) -> float:
    """The epochs that a run with these axes lasts; ``steps_per_epoch`` as its runs had it.

    Without it (no run took a step) a budget in steps or samples counts as one epoch.
    """
    if pd.notna(axes["epochs"]):
        return float(axes["epochs"])
    if steps_per_epoch is None:
        return 1.0
    if pd.notna(axes["budget_steps"]):
        return float(axes["budget_steps"]) / steps_per_epoch
    return math.ceil(float(axes["budget_samples"]) / _samples_per_step(axes)) / steps_per_epoch


def _samples_per_step(axes: Mapping[Any, Any]) -> float:
    batches = axes.get("accumulate")  # of older tables without this column nothing
    return float(axes["batch_size"]) * (float(batches) if pd.notna(batches) else 1.0)


@dataclass(frozen=True)
class Computed:
    """The runs of one cell that have a result, in the order of their seeds."""

    seeds: tuple[int, ...]
    runs: list[str]
    diverged: NDArray[np.bool_]
    environments: tuple[str, ...]
    classes: int
    label_variance: float | None

    @classmethod
    def of(cls, runs: pd.DataFrame, environments: Mapping[str, str]) -> Computed | None:
        """Those among ``runs``; None if there are none."""
        done = runs[runs["status"].isin(DONE)].sort_values("seed")
        if done.empty:
            return None
        return cls(
            seeds=tuple(int(s) for s in done["seed"]),
            runs=[str(h) for h in done["run_hash"]],
            diverged=(done["status"] == "diverged").to_numpy(dtype=np.bool_),
            environments=tuple(environments.get(h, h) for h in done["execution_hash"].astype(str)),
            classes=int(done["classes"].max()),
            label_variance=label_variance_of(done),
        )


def _cell(
    series: Experiment,
    setting: str,
    runs: pd.DataFrame,
    curves: Curves,
    environments: Mapping[str, str],
) -> CellCurves | None:
    computed = Computed.of(runs, environments)
    if computed is None:
        return None
    x, values = curves.metric(computed.runs, _METRICS[series.metric])
    first = runs.iloc[0]
    per_epoch = curves.steps_per_epoch(computed.runs)
    return CellCurves(
        experiment=series.name,
        setting=setting,
        norm=str(first["norm"]),
        batch_size=int(first["batch_size"]),
        budget=budget_in_epochs(first.to_dict(), per_epoch),
        seeds=computed.seeds,
        x=x,
        curves=values,
        diverged=computed.diverged,
        environments=computed.environments,
        planned=len(runs),
        metric=series.metric,
        classes=computed.classes,
        cell_hash=str(first["cell_hash"]),
        steps_per_epoch=per_epoch,
        samples_per_step=int(_samples_per_step(first.to_dict())),
        runs=tuple(computed.runs),
        label_variance=computed.label_variance,
    )


def panels(results: Results, curves: Curves, only: Collection[str] | None = None) -> Iterator[Grid]:
    """All panels of a study, in the protocol's order; cells without any result are left out.

    ``only`` names the experiments (default: all).
    """
    evaluation = results.runs[results.runs["phase"] == "evaluation"]
    for series in results.study.experiments:
        if only is not None and series.name not in only:
            continue
        runs = evaluation[evaluation["experiment"] == series.name]
        texts, known = settings(runs, series)
        for name in dict.fromkeys(texts):
            part = runs[texts == name]
            cells = {}
            for (norm, batch), group in part.groupby(["norm", "batch_size"], sort=False):
                cell = _cell(series, str(name), group, curves, results.environments)
                if cell is not None:
                    cells[(str(norm), int(batch))] = cell
            yield Grid(series, known[name], cells)
