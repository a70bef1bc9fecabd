"""Learning curves by run: the table ``epochs`` cut up once, for fast access.

What probes measured is read in the same way, from the table ``probes``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from normbench.errors import ResultsError
from normbench.protocol.claims import Evaluation, metric_parts, probe_parts
from normbench.results.load import Results

Floats = NDArray[np.float64]


def _no_probes() -> pd.DataFrame:
    return pd.DataFrame(columns=["run_hash", "step", "epoch", "probe", "layer", "value"])


class Curves:
    """Columns of ``epochs`` by run hash; ``probes`` reads that table when it is first asked for."""

    def __init__(
        self, epochs: pd.DataFrame, probes: Callable[[], pd.DataFrame] = _no_probes
    ) -> None:
        self._read_probes = probes
        self._probes: pd.DataFrame | None = None
        self._probed: dict[tuple[str, str], pd.DataFrame] = {}
        codes, hashes = pd.factorize(epochs["run_hash"], sort=False)
        order = np.lexsort((epochs["epoch"].to_numpy(dtype=np.float64), codes))
        starts = np.searchsorted(codes[order], np.arange(len(hashes) + 1))
        self._frame, self._order = epochs, order
        self._place = {str(h): (int(starts[i]), int(starts[i + 1])) for i, h in enumerate(hashes)}
        self._columns: dict[str, Floats] = {}

    def __contains__(self, run_hash: object) -> bool:
        return run_hash in self._place

    def column(self, name: str) -> Floats:
        """A column, sorted by run and epoch; absent values are NaN."""
        if name not in self._columns:
            values = self._frame[name].to_numpy(dtype=np.float64)
            self._columns[name] = values[self._order]
        return self._columns[name]

    def matrix(self, runs: Sequence[str], column: str) -> tuple[Floats, Floats]:
        """Epochs of shape (evaluations,) and values of shape (runs, evaluations).

        The runs must share their schedule. A run that ended early has NaN from there on.
        """
        places = [self._place[run] for run in runs]
        longest = max(places, key=lambda place: place[1] - place[0])
        x = self.column("epoch")[slice(*longest)]
        source = self.column(column)
        values = np.full((len(runs), len(x)), np.nan)
        for row, (start, stop) in zip(values, places, strict=True):
            row[: stop - start] = source[start:stop]
        return x, values

    def steps_per_epoch(self, runs: Sequence[str]) -> int | None:
        """The training steps of an epoch of these runs; None if none took one, or if unknown."""
        for run in runs:
            stop = self._place[run][1] - 1
            epoch, step = (float(self.column(name)[stop]) for name in ("epoch", "step"))
            if epoch > 0 and math.isfinite(step):
                return round(step / epoch)
        return None

    def metric(
        self, runs: Sequence[str], metric: str, evaluation: Evaluation = "running"
    ) -> tuple[Floats, Floats]:
        """Epochs and values of a metric under an evaluation kind; see :meth:`matrix`.

        Norms that do not depend on the batch have one kind, which stands for all. A probe's
        metric has the evaluations at which any of the runs has a value of it: see :meth:`probed`.
        """
        parts = probe_parts(metric)
        if parts is not None:
            return self.probed(runs, *parts)
        part, name = metric_parts(metric)
        stored = "accuracy" if name == "error" else name
        x, values = self.matrix(runs, f"{part}_{stored}")
        if evaluation != "running":
            _, special = self.matrix(runs, f"{part}_{evaluation}_{stored}")
            if np.isfinite(special).any():
                values = special
        return x, (1.0 - values if name == "error" else values)

    def probed(self, runs: Sequence[str], quantity: str, layer: str) -> tuple[Floats, Floats]:
        """Epochs (evaluations,) and values (runs, evaluations) of a quantity that a probe gives.

        Evaluations at which none of the runs has a value (many quantities compare with the one
        before) are left out; there are none at all where nothing was measured. A run that ended
        early, or whose number was not finite, has NaN.
        """
        key = (quantity, layer)
        if key not in self._probed:
            if self._probes is None:
                self._probes = self._read_probes()
            frame = self._probes
            self._probed[key] = frame[(frame["probe"] == quantity) & (frame["layer"] == layer)]
        own = self._probed[key]
        own = own[own["run_hash"].isin(list(runs))]
        wide = own.pivot(index="run_hash", columns="step", values="value").sort_index(axis=1)
        epochs = own.drop_duplicates("step").set_index("step")["epoch"]
        x: Floats = epochs.reindex(wide.columns).to_numpy(dtype=np.float64)
        values: Floats = wide.reindex(list(runs)).to_numpy(dtype=np.float64)
        return x, values

    def layers(self, runs: Sequence[str], quantity: str) -> list[str]:
        """The layers of which a quantity has values in these runs; the whole model is ''."""
        if self._probes is None:
            self._probes = self._read_probes()
        frame = self._probes
        own = frame[(frame["probe"] == quantity) & frame["run_hash"].isin(list(runs))]
        return [str(layer) for layer in own["layer"].unique()]


def curves_of(results: Results) -> Curves:
    """The curves of all stored runs."""
    return Curves(results.epochs, lambda: results.probes)


def computed_curves(results: Results) -> Curves:
    """The curves of a study of which some run has been computed, or none can be.

    Raises :class:`~normbench.errors.ResultsError` where none has been yet, or where the
    evaluations of one are gone.
    """
    status = results.runs["status"]
    computed = status.isin(["finished", "diverged"])
    if not computed.any() and not (len(status) and (status == "undefined").all()):
        others = status[status != "missing"].value_counts()
        counts = "".join(f", {n:,} {name}" for name, n in others.items())
        raise ResultsError(
            f"{results.folder} has no computed run yet ({len(status) or 'not even'} planned"
            f"{counts}); `normbench run` with its protocol computes what is missing or failed"
        )
    curves = curves_of(results)
    lost = sum(key not in curves for key in results.runs["run_hash"][computed])
    if lost:
        raise ResultsError(
            f"the evaluations of {lost} computed run(s) are not in {results.folder}; "
            "`normbench run` with its protocol computes them again"
        )
    return curves
