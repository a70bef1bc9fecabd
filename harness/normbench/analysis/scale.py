"""Features in different units: what gradient descent makes of them, against what theory says.

For cells that train a linear regression and record its weights. The training loss is then a known
quadratic of the weights, so that the steps of each run are predicted from its first weights alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from normbench.analysis.cells import CellCurves, Grid
from normbench.analysis.curves import Floats
from normbench.analysis.endpoints import KEYS, key_columns
from normbench.analysis.seconds import mean_interval
from normbench.datasets.training_split import TrainingSplit, training_split
from normbench.errors import DataMissingError
from normbench.plan.decisions import decided
from normbench.plan.spec import cell_hash
from normbench.protocol.choice import Absent
from normbench.protocol.claims import probe_parts
from normbench.protocol.schema import Cell
from normbench.protocol.study import Study
from normbench.results.load import Results
from normbench.stats.quadratic import Quadratic, rule_of_thumb, squared_error
from normbench.stats.speed import restricted_time

#: The share of what the features explain that may be left, unless a claim names another.
TOLERANCE = 0.01
#: Steps of a path that are kept for the figure.
_PATH_STEPS = 60
_CELL = [*KEYS, "dataset", "input_norm", "rate"]
STEPS = [*_CELL, "condition", "largest", "tolerance", "predicted", "predicted_read", "measured",
         "low", "high", "rule", "budget", "reached", "runs", "deviation"]  # fmt: skip
SHARES = [*_CELL, "feature", "name", "share", "low", "high", "importance", "runs"]
PATHS = [*_CELL, "seed", "step", "x1", "x2", "bias", "excess"]
CONTOURS = [*_CELL, "feature1", "feature2", "bias", "x1", "x2", "h11", "h12", "h22", "condition"]


@dataclass(frozen=True)
class _LinearCell:
    """A cell's linear regression: its data, its loss, and what its runs recorded."""

    key: dict[str, Any]
    curves: CellCurves
    cell: Cell
    data: TrainingSplit
    loss: Quadratic
    probes: Mapping[str, pd.DataFrame]

    @property
    def explained(self) -> float:
        """How much less than the best constant the best linear model loses."""
        return float(self.data.labels.var()) - self.loss.least

    @property
    def rate(self) -> float:
        """The learning rate in units of 1/λ_max."""
        given = self.cell.scaled_learning_rate()
        return given if self.cell.lr_scaling == "curvature" else given * self.loss.largest

    @property
    def plain_descent(self) -> bool:
        """Whether the run is the gradient descent of the theory: full batch, no momentum."""
        params = self.cell.optimizer.params
        return (
            self.cell.optimizer.name == "sgd"
            and params["momentum"] == 0 and params["weight_decay"] == 0
            and self.cell.lr_schedule.name == "constant" and self.cell.clip_norm is None
            and self.cell.samples_per_step == len(self.data.labels)
            and self.cell.precision == "fp32"
        )  # fmt: skip

    def values(self, run: str, quantity: str, layer: str = "") -> tuple[Floats, Floats]:
        """Steps and values of a quantity in a run, in order."""
        own = self.probes.get(run)
        if own is None:
            return np.zeros(0), np.zeros(0)
        own = own[(own["probe"] == quantity) & (own["layer"] == layer)].sort_values("step")
        return own["step"].to_numpy(dtype=float), own["value"].to_numpy(dtype=float)

    def weights(self, run: str) -> tuple[Floats, Floats]:
        """Steps (evaluations,) and weights with bias (evaluations, features + 1) of a run."""
        layers = [f"x{i + 1}" for i in range(self.data.inputs.shape[1])] + ["bias"]
        found = [self.values(run, "linear-weights", layer) for layer in layers]
        return found[0][0], np.stack([values for _, values in found], axis=1)


def _by_run(results: Results) -> dict[str, pd.DataFrame]:
    known = results.probes
    known = known[known["probe"].isin(["linear-weights", "excess-loss", "update-share"])]
    return {str(run): rows for run, rows in known.groupby("run_hash", sort=False)}


def _linear_cells(results: Results, panels: list[Grid]) -> Iterator[_LinearCell]:
    probes = _by_run(results)
    if not probes:
        return
    code = results.code
    cells = {
        cell_hash(chosen, code): chosen
        for series in results.study.experiments
        for chosen in (decided(cell, series, results.decisions, code) for cell in series.cells)
    }
    for panel in panels:
        for curves in panel.cells.values():
            cell = cells.get(curves.cell_hash)
            if cell is None or not {"linear-weights", "excess-loss"} <= set(cell.probes):
                continue
            runs = [r for r in curves.runs if r in probes]
            if cell.model.name != "linear" or curves.label_variance is None or not runs:
                continue
            if isinstance(cell.dataset, Absent):
                continue  # it is not installed here
            try:
                data = training_split(cell)
            except DataMissingError:  # not here, or made by code, which no report runs
                continue
            found = _LinearCell(
                {}, curves, cell, data, squared_error(data.inputs, data.labels), probes
            )
            key = key_columns(curves) | {
                "dataset": cell.dataset.label, "input_norm": cell.input_norm, "rate": found.rate,
            }  # fmt: skip
            yield _LinearCell(key, curves, cell, data, found.loss, probes)


def tolerances(study: Study, experiment: str) -> list[float]:
    """The levels of the excess loss that claims about an experiment name, or the default."""
    named = [
        float(claim.endpoint.threshold)
        for claim in study.claims
        if claim.experiment == experiment
        and probe_parts(claim.endpoint.metric) == ("excess-loss", "")
        and isinstance(claim.endpoint.threshold, float)
    ]
    return sorted(set(named)) or [TOLERANCE]


def _steps(one: _LinearCell, tolerance: float, alpha: float) -> dict[str, Any] | None:
    """Predicted and measured steps of a cell's runs to a tolerance."""
    predicted, read, measured, reached = [], [], [], []
    for run in one.curves.runs:
        steps, excess = one.values(run, "excess-loss")
        if len(steps) < 2:
            continue
        start = one.weights(run)[1][0]
        theory = one.loss.curve(start, steps, one.rate) / one.explained
        both = restricted_time(
            steps, np.stack([theory, excess]), tolerance, goal="min", budget=steps[-1], window=1
        )
        predicted.append(one.loss.steps_to(tolerance * one.explained, start, one.rate))
        read.append(both.time[0])
        measured.append(both.time[1])
        reached.append(bool(both.reached[1]))
        budget = float(steps[-1])
    if not measured:
        return None
    times = np.array(measured)
    low, high = mean_interval(times, budget, alpha)
    off = np.abs(times - np.array(read)) / np.maximum(np.array(read), 1.0)
    return one.key | {
        "condition": one.loss.condition, "largest": one.loss.largest, "tolerance": tolerance,
        "predicted": float(np.mean(predicted)), "predicted_read": float(np.mean(read)),
        "measured": float(times.mean()), "low": low, "high": high,
        "rule": rule_of_thumb(one.loss.condition, tolerance, one.rate), "budget": budget,
        "reached": sum(reached), "runs": len(reached), "deviation": float(off.max()),
    }  # fmt: skip


def importance(data: TrainingSplit, loss: Quadratic) -> Floats:
    """Each feature's share of the squared standardized coefficients, shape (features,).

    A standardized coefficient is the optimum's weight times the feature's deviation: the same
    whatever the unit of the feature.
    """
    squares = (loss.minimum[:-1] * data.inputs.std(axis=0)) ** 2
    found: Floats = squares / squares.sum()
    return found


def _shares(one: _LinearCell, alpha: float) -> Iterator[dict[str, Any]]:
    """The share of the first step that each feature has, against its importance."""
    wanted = importance(one.data, one.loss)
    for i, name in enumerate(one.data.features):
        series = [one.values(run, "update-share", f"x{i + 1}")[1] for run in one.curves.runs]
        first = np.array([values[0] for values in series if len(values)])
        if not len(first):
            return
        low, high = mean_interval(first, 1.0, alpha)
        yield one.key | {
            "feature": f"x{i + 1}", "name": name, "share": float(first.mean()), "low": low,
            "high": high, "importance": float(wanted[i]), "runs": len(first),
        }  # fmt: skip


def _path(one: _LinearCell) -> tuple[list[dict[str, Any]], dict[str, Any]] | None:
    """The weights of the first seed step by step, and the quadratic over both of them.

    None unless there are two features and the first steps are all evaluated. The loss is cut at
    the bias with which the path ends.
    """
    if one.data.inputs.shape[1] != 2:
        return None
    steps, weights = one.weights(one.curves.runs[0])
    steps, weights = steps[: _PATH_STEPS + 1], weights[: _PATH_STEPS + 1]
    if len(steps) < 3 or (np.diff(steps) != 1).any():
        return None
    excess = one.loss.excess(weights) / one.explained
    rows = [
        one.key | {"seed": one.curves.seeds[0], "step": int(step), "x1": w[0], "x2": w[1],
                   "bias": w[2], "excess": e}
        for step, w, e in zip(steps, weights, excess, strict=True)
    ]  # fmt: skip
    h, bias = one.loss.hessian, float(weights[-1, 2])
    away = np.linalg.solve(h[:2, :2], h[:2, 2]) * (bias - one.loss.minimum[2])
    centre = one.loss.minimum[:2] - away
    return rows, one.key | {
        "feature1": one.data.features[0], "feature2": one.data.features[1], "bias": bias,
        "x1": centre[0], "x2": centre[1], "h11": h[0, 0], "h12": h[0, 1], "h22": h[1, 1],
        "condition": one.loss.condition,
    }  # fmt: skip


def scale_tables(results: Results, panels: list[Grid], alpha: float) -> dict[str, pd.DataFrame]:
    """The tables ``scale``, ``scale_shares``, ``scale_paths`` and ``scale_contours``.

    ``scale``: per cell and tolerance, the condition number of the training loss, the steps to
    that share of the explained loss as predicted and as measured, and the rule of thumb.
    ``predicted`` are whole steps without end, ``predicted_read`` is read off the predicted curve
    as ``measured`` is off the run's: interpolated between its evaluations, and restricted to its
    budget; ``deviation`` is the largest relative difference of the two. ``scale_shares``: each
    feature's share of the first step against its importance. ``scale_paths`` and
    ``scale_contours``: with two features, the first seed's weights step by step, and the
    quadratic ½·(w − x)ᵀ·h·(w − x) over both weights around its centre ``x1``, ``x2``.
    """
    steps, shares, paths, contours = [], [], [], []
    for one in _linear_cells(results, panels):
        if one.plain_descent:
            found = (
                _steps(one, t, alpha) for t in tolerances(results.study, one.curves.experiment)
            )
            steps += [row for row in found if row is not None]
        shares += list(_shares(one, alpha))
        path = _path(one)
        if path is not None:
            paths += path[0]
            contours.append(path[1])
    return {
        "scale": pd.DataFrame(steps, columns=STEPS),
        "scale_shares": pd.DataFrame(shares, columns=SHARES),
        "scale_paths": pd.DataFrame(paths, columns=PATHS),
        "scale_contours": pd.DataFrame(contours, columns=CONTOURS),
    }
