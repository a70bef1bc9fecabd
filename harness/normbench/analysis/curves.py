"""Learning curves by run: the table ``epochs`` cut up once, for fast access."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from normbench.errors import ResultsError
from normbench.protocol.claims import ClaimMetric, Evaluation
from normbench.results.load import Results

Floats = NDArray[np.float64]


class Curves:
    """Columns of ``epochs`` by run hash."""

    def __init__(self, epochs: pd.DataFrame) -> None:
        codes, hashes = pd.factorize(epochs["run_hash"], sort=False)
        steps = epochs["step"].to_numpy(dtype=np.int64)
        order = np.lexsort((steps, codes))
        starts = np.searchsorted(codes[order], np.arange(len(hashes) + 1))
        self._frame, self._order = epochs, order
        self._place = {str(h): (int(starts[i]), int(starts[i + 1])) for i, h in enumerate(hashes)}
        self._columns: dict[str, Floats] = {}

    def __contains__(self, run_hash: object) -> bool:
        return run_hash in self._place

    def column(self, name: str) -> Floats:
        """A column, sorted by run and step; absent values are NaN."""
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
        """The training steps of an epoch of these runs, or None if none of them took a step."""
        for run in runs:
            stop = self._place[run][1] - 1
            epoch = float(self.column("epoch")[stop])
            if epoch > 0:
                return round(float(self.column("step")[stop]) / epoch)
        return None

    def metric(
        self, runs: Sequence[str], metric: ClaimMetric, evaluation: Evaluation = "running"
    ) -> tuple[Floats, Floats]:
        """Epochs and values of a metric under an evaluation kind; see :meth:`matrix`.

        Norms that do not depend on the batch have one kind, which stands for all.
        """
        part, _, name = metric.partition("_")
        stored = "accuracy" if name == "error" else name
        x, values = self.matrix(runs, f"{part}_{stored}")
        if evaluation != "running":
            _, special = self.matrix(runs, f"{part}_{evaluation}_{stored}")
            if np.isfinite(special).any():
                values = special
        return x, (1.0 - values if name == "error" else values)


def computed_curves(results: Results) -> Curves:
    """The curves of a study of which some run has been computed.

    Raises :class:`~normbench.errors.ResultsError` where none has been yet, or where the
    evaluations of one are gone.
    """
    status = results.runs["status"]
    computed = status.isin(["finished", "diverged"])
    if not computed.any():
        raise ResultsError(
            f"{results.folder} has no computed run yet ({len(status) or 'not even'} planned); "
            "`normbench run` with its protocol computes them"
        )
    curves = Curves(results.epochs)
    lost = sum(key not in curves for key in results.runs["run_hash"][computed])
    if lost:
        raise ResultsError(
            f"the evaluations of {lost} computed run(s) are not in {results.folder}; "
            "`normbench run` with its protocol computes them again"
        )
    return curves
