"""The design of a study as it stands in the protocol."""

from __future__ import annotations

from typing import Any

from normbench.protocol.choice import Choice
from normbench.protocol.schema import AXES
from normbench.protocol.study import Experiment
from normbench.report import words
from normbench.report.blocks import Column, Table, Value
from normbench.report.source import Source

#: Axes that the table of the experiments shows in columns of their own.
_SHOWN = ("norm", "batch_size")


def _shown(value: Any) -> str:
    if isinstance(value, Choice):
        return value.label
    if isinstance(value, tuple):
        return " ".join(map(str, value)) or "none"
    return "tuned" if value is None else str(value)


def levels(series: Experiment, axis: str) -> list[str]:
    """The values of an axis in an experiment, in order."""
    return list(dict.fromkeys(_shown(getattr(cell, axis)) for cell in series.cells))


def seeds_text(seeds: tuple[int, ...]) -> str:
    """Seeds as a range where they are one."""
    if len(seeds) > 2 and list(seeds) == list(range(seeds[0], seeds[0] + len(seeds))):
        return f"{len(seeds)} ({seeds[0]} to {seeds[-1]})"
    shown = ", ".join(map(str, seeds[:6])) + (", …" if len(seeds) > 6 else "")
    return f"{len(seeds)} ({shown})"


def experiments(source: Source) -> Table:
    """What each experiment varies, and how its curves are read."""
    rows = []
    for e in source.study.experiments:
        others = [a for a in e.varies if a not in _SHOWN]
        varied = "; ".join(f"{a}: {', '.join(levels(e, a))}" for a in others)
        tuned = ""
        if e.tune is not None:
            rates = ", ".join(f"{r:g}" for r in e.tune.learning_rate)
            tuned = f"{rates} on {words.plural(len(e.tune.seeds), 'seed')} of their own"
            tuned += f", on {e.tune.on.label} for all" if e.tune.on is not None else ""
            tuned += f", widened up to {e.tune.widen} times" if e.tune.widen else ""
        rows.append(
            [
                Value(e.name, hint=e.title), Value(", ".join(levels(e, "model"))),
                Value(", ".join(levels(e, "dataset"))), Value(", ".join(levels(e, "norm"))),
                Value(", ".join(levels(e, "batch_size"))), Value(varied),
                Value(tuned or ", ".join(levels(e, "learning_rate"))),
                Value(seeds_text(e.seeds), sort=len(e.seeds)), words.count(len(e.cells)),
                Value(e.reference), Value(e.metric),
                Value(", ".join(f"{t:g}" for t in e.thresholds)), words.count(e.window),
            ]
        )  # fmt: skip
    columns = [
        Column("experiment"), Column("model"), Column("data set"), Column("norms"),
        Column("batch sizes"), Column("varies besides"),
        Column("learning rate", doc="at the reference batch size, before scaling; or the grid from "
               "which each cell's is chosen"),
        Column("seeds", number=True), Column("cells", number=True), Column("reference"),
        Column("metric"), Column("thresholds"),
        Column("window", number=True, doc="evaluations that are averaged"),
    ]  # fmt: skip
    return Table("methods-design", "Design: what each experiment compares", columns, rows)


def settings(source: Source) -> Table:
    """Every other axis: one value for all experiments, or the values of each."""
    study, rows = source.study, []
    for axis in AXES:
        if axis in (*_SHOWN, "model", "dataset", "learning_rate"):
            continue
        by = {e.name: ", ".join(levels(e, axis)) for e in study.experiments}
        texts = list(dict.fromkeys(by.values()))
        if texts == ["tuned"]:  # an optional axis that nobody sets
            continue
        shown = texts[0] if len(texts) == 1 else "; ".join(f"{n}: {v}" for n, v in by.items())
        doc = next(iter(study.experiments)).cells[0].__class__.model_fields[axis].description
        rows.append([Value(axis), Value(shown.replace("tuned", "none")), Value(doc or "")])
    columns = [Column("axis"), Column("value"), Column("meaning")]
    return Table("methods-settings", "All other settings", columns, rows, folded=True)
