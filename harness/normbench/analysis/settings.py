"""What an experiment varies besides norm and batch size: a value, and as a text in the tables."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import pandas as pd

from normbench.protocol.choice import Choice
from normbench.protocol.study import Experiment, Study

#: The axis that is compared by itself.
INPUT_NORM = "input_norm"


@dataclass(frozen=True)
class Level:
    """The value of an axis as a text; of a component also its name and what it sets."""

    text: str
    name: str = ""
    params: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Setting:
    """Axes with their values. Tables hold its ``text``, which is empty where nothing varies."""

    axes: tuple[tuple[str, Level], ...] = ()

    @property
    def text(self) -> str:
        """All axes with their values."""
        return ", ".join(f"{axis}={level.text}" for axis, level in self.axes)

    def __bool__(self) -> bool:
        return bool(self.axes)

    def value(self, axis: str) -> str:
        """The value of an axis; empty if it does not vary."""
        return next((level.text for name, level in self.axes if name == axis), "")

    def without(self, axis: str) -> Setting:
        """The same without an axis."""
        return Setting(tuple((name, level) for name, level in self.axes if name != axis))


def setting_axes(series: Experiment) -> list[str]:
    """The axes other than norm and batch size that vary in an experiment.

    An axis that follows from those two (a learning rate zipped with the norm, say) is part of
    the configuration and not a setting: it must not keep norms from being compared.
    """
    axes = []
    for axis in series.varies:
        values: dict[tuple[str, int], set[str]] = {}
        for cell in series.cells:
            key = (cell.norm.label, cell.batch_size)
            values.setdefault(key, set()).add(repr(getattr(cell, axis)))
        if axis not in ("norm", "batch_size") and any(len(v) > 1 for v in values.values()):
            axes.append(axis)
    return axes


def _text(value: object) -> str:
    if value is None or value != value:  # an optional axis that is not set
        return "none"
    # pandas makes whole numbers fractional where another experiment leaves the axis out
    whole = isinstance(value, float) and value.is_integer()
    return str(int(value)) if whole else str(value)  # type: ignore[call-overload]


def settings(runs: pd.DataFrame, series: Experiment) -> tuple[pd.Series, dict[str, Setting]]:
    """For each run of an experiment the text of its setting, and the settings by their texts."""
    axes = setting_axes(series)
    if not axes:
        return pd.Series("", index=runs.index), {"": Setting()}
    components = _components(series, axes)
    columns = [runs[axis].map(_text) for axis in axes]
    rows = list(zip(*columns, strict=True))
    known = {}
    for row in dict.fromkeys(rows):
        named = zip(axes, row, strict=True)
        levels = ((axis, components.get((axis, text), Level(text))) for axis, text in named)
        known[row] = Setting(tuple(levels))
    texts = pd.Series([known[row].text for row in rows], index=runs.index, dtype=object)
    return texts, {setting.text: setting for setting in known.values()}


def all_settings(runs: pd.DataFrame, study: Study) -> dict[str, Setting]:
    """All settings of a study by their texts, also without the axis that is compared by itself."""
    found: dict[str, Setting] = {}
    for series in study.experiments:
        found |= settings(runs[runs["experiment"] == series.name], series)[1]
    shorter = [setting.without(INPUT_NORM) for setting in found.values()]
    return {setting.text: setting for setting in shorter} | found


def _components(series: Experiment, axes: Collection[str]) -> dict[tuple[str, str], Level]:
    found = {}
    for cell in series.cells:
        for axis in axes:
            value = getattr(cell, axis)
            if isinstance(value, Choice):
                name, own = value.parts
                found[(axis, value.label)] = Level(value.label, name, tuple(own.items()))
    return found
