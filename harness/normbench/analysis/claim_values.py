"""The values that claims compare: one number per run, read off the runs of a cell."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from normbench.analysis import reasons
from normbench.analysis.cells import Computed, budget_in_epochs, cell_label
from normbench.analysis.curves import Curves, Floats
from normbench.analysis.pooled import threshold_key
from normbench.analysis.settings import setting_axes
from normbench.plan.decisions import decided
from normbench.plan.spec import cell_hash
from normbench.protocol.claims import ClaimEndpoint, Evaluation, probe_parts
from normbench.protocol.resolved import ResolvedClaim
from normbench.protocol.study import Experiment
from normbench.results.load import Results
from normbench.stats.outcome import endpoint_values


@dataclass
class CellValues:
    """The endpoint of one cell by seed."""

    label: str
    values: dict[int, float] = field(default_factory=dict)
    diverged: dict[int, bool] = field(default_factory=dict)
    clipped: dict[int, bool] = field(default_factory=dict)
    environment: dict[int, str] = field(default_factory=dict)
    undefined: str = ""

    @classmethod
    def unreadable(cls, series: Experiment, index: int, why: str) -> CellValues:
        """A cell whose endpoint cannot be read."""
        label = _label(series, index)
        return cls(label, undefined=reasons.unreadable(label, why))


def _label(series: Experiment, index: int) -> str:
    """A cell of an experiment with all axes that tell it from the others."""
    cell = series.cells[index]
    others = []
    for axis in setting_axes(series):
        value = getattr(cell, axis)
        others.append(f"{axis}={value.label if hasattr(value, 'label') else value}")
    return cell_label(cell.norm.label, cell.batch_size, ", ".join(others))


class Reader:
    """Reads endpoint values of cells from the results, each once."""

    def __init__(self, results: Results, curves: Curves) -> None:
        self.results, self.curves = results, curves
        runs = results.runs[results.runs["phase"] == "evaluation"]
        self.runs = {
            (str(e), str(c)): part
            for (e, c), part in runs.groupby(["experiment", "cell_hash"], sort=False)
        }
        self.environments = results.environments
        self.decisions = results.decisions
        self._known: dict[Any, CellValues] = {}

    def threshold(self, claim: ResolvedClaim) -> float | None:
        """The declared or the frozen threshold; None where it is not known yet."""
        if claim.endpoint.threshold == "pooled":
            return self.decisions.thresholds.get(threshold_key(claim))
        return claim.endpoint.threshold

    def cell(
        self, claim: ResolvedClaim, series: Experiment, index: int, evaluation: Evaluation
    ) -> CellValues:
        """The endpoint of a claim in one cell."""
        key = (series.name, index, evaluation, claim.endpoint.model_dump_json())
        if key not in self._known:
            self._known[key] = self._read(claim, series, index, evaluation)
        return self._known[key]

    def _read(
        self, claim: ResolvedClaim, series: Experiment, index: int, evaluation: Evaluation
    ) -> CellValues:
        plain = series.cells[index]
        resolved = decided(plain, series, self.decisions, self.results.code)
        found = CellValues(_label(series, index))
        runs = self.runs.get((series.name, cell_hash(resolved, self.results.code)))
        if runs is None:
            return found
        undefined = runs[runs["status"] == "undefined"]
        if not undefined.empty:
            found.undefined = reasons.undefined(found.label, undefined["error"].iloc[0])
            return found
        done = Computed.of(runs, self.environments)
        if done is None:
            return found
        end, lost = claim.endpoint, done.diverged
        x, curve = self.curves.metric(done.runs, end.metric, evaluation)
        if probe_parts(end.metric) is not None:
            if not len(x) and not lost.all():
                found.undefined = self._unmeasured(found.label, done.runs, end.metric)
                return found
            x, curve = _measured(x, curve, lost, end)
        threshold = self.threshold(claim)
        if end.kind == "time" and threshold is None:
            return found
        per_epoch = self.curves.steps_per_epoch(done.runs)
        result = endpoint_values(
            end.kind, x, curve, goal=end.better, window=end.window,
            failure_score=end.failure_score, threshold=threshold,
            budget=end.budget or budget_in_epochs(resolved.model_dump(), per_epoch),
            diverged=lost,
        )  # fmt: skip
        seeds = done.seeds
        found.values = dict(zip(seeds, result.values.tolist(), strict=True))
        found.diverged = dict(zip(seeds, result.diverged.tolist(), strict=True))
        found.clipped = dict(zip(seeds, result.clipped.tolist(), strict=True))
        found.environment = dict(zip(seeds, done.environments, strict=True))
        return found

    def _unmeasured(self, label: str, runs: list[str], metric: str) -> str:
        """Why a cell has no value of a probe's metric."""
        name, layer = probe_parts(metric) or (metric, "")
        layers = [known for known in self.curves.layers(runs, name) if known]
        return reasons.unmeasured(label, name, layer, layers)


def _measured(
    x: Floats, curve: Floats, lost: NDArray[np.bool_], end: ClaimEndpoint
) -> tuple[Floats, Floats]:
    """A probe's curves as endpoints take them.

    In a run that did not diverge, an evaluation without a finite number counts with the failure
    score: the run itself went on. Runs that all diverged before anything was measured have one
    evaluation without a number.
    """
    if not len(x):
        return np.array([np.nan]), np.full((len(lost), 1), np.nan)
    if end.failure_score is None:
        return x, curve
    kept = np.isfinite(curve) | lost[:, None]
    return x, np.where(kept, curve, end.failure_score)
