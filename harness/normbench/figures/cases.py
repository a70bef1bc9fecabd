"""What is shown side by side in an experiment: its batch sizes, its settings, or both."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from normbench.analysis.labels import axes_of, labels


@dataclass(frozen=True)
class Case:
    """A setting and a batch size with a short label."""

    setting: str
    batch_size: int
    label: str

    def rows(self, frame: pd.DataFrame) -> pd.DataFrame:
        """The rows of this case."""
        own = (frame["setting"] == self.setting) & (frame["batch_size"] == self.batch_size)
        return frame[own]


def _spread(values: list[int], most: int) -> list[int]:
    places = np.unique(np.linspace(0, len(values) - 1, max(most, 1)).round().astype(int))
    return values if len(values) <= most else [values[i] for i in places]


def cases(frame: pd.DataFrame, most: int) -> list[Case]:
    """At most ``most`` cases of one experiment, each with its own label.

    Of its batch sizes the ends come first.
    """
    settings = list(dict.fromkeys(str(s) for s in frame["setting"]))[:most]
    sizes = sorted(int(b) for b in frame["batch_size"].unique())
    names = labels(settings)
    sizes = _spread(sizes, max(1, most // max(len(settings), 1)))
    found = []
    for setting in settings:
        for size in sizes:
            label = f"{size}" if len(settings) == 1 else names[setting]
            if len(settings) > 1 and len(sizes) > 1:
                label = f"{names[setting]} · {size}"
            found.append(Case(setting, size, label))
    return found


def axis_name(frame: pd.DataFrame) -> str:
    """What the labels of the cases stand for."""
    settings = [axes_of(str(setting)) for setting in frame["setting"].unique()]
    if len(settings) == 1:
        return "batch size"
    names = [
        axis.replace("_", " ")
        for axis in settings[0]
        if len({table.get(axis) for table in settings}) > 1
    ]
    return ", ".join(names) + (" · batch size" if frame["batch_size"].nunique() > 1 else "")
