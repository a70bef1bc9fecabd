"""What is shown side by side in an experiment: its batch sizes, its settings, or both."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from normbench.figures.look import Look


@dataclass(frozen=True)
class Case:
    """A setting and a batch size with a short label."""

    setting: str
    batch_size: int
    label: str

    def rows(self, frame: pd.DataFrame) -> pd.DataFrame:
        """The rows of this case."""
        return rows(frame, self.setting, self.batch_size)


def _spread(values: list[int], most: int) -> list[int]:
    places = np.unique(np.linspace(0, len(values) - 1, max(most, 1)).round().astype(int))
    return values if len(values) <= most else [values[i] for i in places]


def places(frame: pd.DataFrame, most: int) -> list[tuple[str, int]]:
    """At most ``most`` pairs of setting and batch size; of the batch sizes the ends come first."""
    settings = list(dict.fromkeys(str(s) for s in frame["setting"]))[:most]
    sizes = sorted(int(b) for b in frame["batch_size"].unique())
    sizes = _spread(sizes, max(1, most // max(len(settings), 1)))
    return [(setting, size) for setting in settings for size in sizes]


def rows(frame: pd.DataFrame, setting: str, batch_size: int) -> pd.DataFrame:
    """The rows of a setting and batch size."""
    return frame[(frame["setting"] == setting) & (frame["batch_size"] == batch_size)]


def cases(frame: pd.DataFrame, most: int, look: Look) -> list[Case]:
    """What :func:`places` finds in one experiment, each with its own label."""
    found = places(frame, most)
    names = look.labels([setting for setting, _ in found])
    several = len(names) > 1, len({size for _, size in found}) > 1
    return [Case(setting, size, _label(names[setting], size, several)) for setting, size in found]


def _label(name: str, size: int, several: tuple[bool, bool]) -> str:
    settings, sizes = several
    if not settings:
        return f"{size}"
    return f"{name} · {size}" if sizes else name


def axis_name(frame: pd.DataFrame, look: Look) -> str:
    """What the labels of the cases stand for."""
    settings = [dict(look.setting(str(text)).axes) for text in frame["setting"].unique()]
    if len(settings) == 1:
        return "batch size"
    names = [
        axis.replace("_", " ")
        for axis in settings[0]
        if len({table.get(axis) for table in settings}) > 1
    ]
    return ", ".join(names) + (" · batch size" if frame["batch_size"].nunique() > 1 else "")
