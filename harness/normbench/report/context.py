"""What the page shows, as plain data: the template only arranges it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from normbench.analysis.phrases import amount, bare, degradation_sentence, norm_name, p_value
from normbench.analysis.tables import Analysis
from normbench.figures.batch_size import error_by_batch_size
from normbench.figures.curves import learning_curves
from normbench.figures.render import to_svg, unique_ids
from normbench.figures.times import time_to_threshold
from normbench.protocol.study import Series
from normbench.results.load import Results
from normbench.results.schema import STATUSES


@dataclass(frozen=True)
class Figure:
    """A figure with the words that go with it."""

    anchor: str
    svg: str
    caption: str


@dataclass(frozen=True)
class Table:
    """A table's heading and its cells as texts; numbers are told by their column."""

    columns: list[str]
    rows: list[list[str]]
    numeric: list[bool]
    caption: str


@dataclass
class Section:
    """One experiment and setting: its figures, tables and sentences."""

    anchor: str
    title: str
    setting: str
    sentences: list[str] = field(default_factory=list)
    curves: Figure | None = None
    times: list[Figure] = field(default_factory=list)
    time_rows: Table | None = None
    comparisons: Table | None = None
    small_batch: Figure | None = None
    degradation: Table | None = None


def _part(table: pd.DataFrame, series: Series, setting: str) -> pd.DataFrame:
    return table[(table["experiment"] == series.name) & (table["setting"] == setting)]


def _figure(anchor: str, figure: Any, label: str, caption: str) -> Figure:
    return Figure(anchor, unique_ids(to_svg(figure, label), anchor), caption)


def completeness_table(table: pd.DataFrame) -> tuple[Table, Table | None]:
    """The runs of each experiment by status, and the cells that are not complete."""
    numbers = ["planned", *STATUSES]
    total = table.groupby("experiment", sort=False)[numbers].sum().reset_index()
    rows = [[str(r["experiment"]), *(f"{r[c]:,}" for c in numbers)] for _, r in total.iterrows()]
    whole = Table(["experiment", *numbers], rows, [False, *[True] * len(numbers)],
                  "Runs by status")  # fmt: skip
    partial = table[table["finished"] < table["planned"]]
    if partial.empty:
        return whole, None
    keys = ["experiment", "norm", "batch_size"]
    rows = [
        [*(str(r[k]) for k in keys), *(f"{r[c]:,}" for c in numbers)] for _, r in partial.iterrows()
    ]
    heading = ["experiment", "norm", "batch size", *numbers]
    numeric = [False, False, *[True] * (len(heading) - 2)]
    return whole, Table(heading, rows, numeric, "Cells that are not complete")


def _interval(row: pd.Series, metric: str | None) -> str:
    if row["refusal"]:
        return ""
    if metric is None:
        return f"{row['low']:+.2f} to {row['high']:+.2f}"
    low, high = (bare(row[k], metric, signed=True) for k in ("low", "high"))
    return f"{low} to {high}"


def _level(alpha: float) -> str:
    return f"{100 * (1 - alpha):g} % interval"


def _comparison_rows(part: pd.DataFrame, metric: str, alpha: float) -> Table:
    rows = []
    for _, r in part.iterrows():
        final = r["endpoint"] == "final"
        unit = metric if final else None
        effect = "" if r["refusal"] and pd.isna(r["estimate"]) else (
            amount(r["estimate"], metric, signed=True) if final
            else f"{r['estimate']:+.2f} epochs"
        )  # fmt: skip
        what = "final error" if final else f"time to {r['threshold']:g}"
        p = p_value(r["p"]).removeprefix("p = ").removeprefix("p ")
        note = r["refusal"] or r["warnings"]
        rows.append([str(r["batch_size"]), str(r["norm"]), what, effect, _interval(r, unit), p,
                     str(r["n"]), str(note)])  # fmt: skip
    heading = ["batch size", "norm", "endpoint", "better by", _level(alpha), "p", "seeds", "note"]
    numeric = [True, False, False, True, True, True, True, False]
    return Table(heading, rows, numeric, "Differences to the reference norm, seed by seed")


def _time_rows(part: pd.DataFrame, alpha: float) -> Table:
    rows = [
        [
            str(r["batch_size"]), str(r["norm"]), f"{r['threshold']:g}",
            f"{r['reached']} of {r['runs']}",
            f"{100 * r['fraction_low']:.0f} to {100 * r['fraction_high']:.0f} %",
            f"{r['restricted_mean']:.2f}", str(r["diverged"]),
        ]
        for _, r in part.iterrows()
    ]  # fmt: skip
    heading = ["batch size", "norm", "threshold", "reached", _level(alpha), "mean epochs",
               "diverged"]  # fmt: skip
    return Table(heading, rows, [True, False, True, True, True, True, True],
                 "Time to threshold, restricted to the budget")  # fmt: skip


def _degradation_rows(part: pd.DataFrame, metric: str, alpha: float) -> Table:
    rows, what = [], "error" if metric == "accuracy" else "loss"
    for _, r in part.iterrows():
        effect = "" if r["refusal"] else amount(r["estimate"], metric, signed=True)
        ends = r["difference_in_differences"]
        plain = "" if pd.isna(ends) else amount(ends, metric, signed=True)
        p = p_value(r["p"]).removeprefix("p = ").removeprefix("p ")
        rows.append([str(r["norm"]), str(r["reference"]), f"{r['largest']} → {r['smallest']}",
                     effect, _interval(r, metric), p, str(r["n"]), plain,
                     str(r["refusal"] or r["warnings"])])  # fmt: skip
    heading = ["norm", "reference", "batch size", "extra loss", _level(alpha), "p", "seeds",
               "ends only", "note"]  # fmt: skip
    return Table(heading, rows, [False, False, False, True, True, True, True, True, False],
                 f"Extra {what} as the batch shrinks")  # fmt: skip


def _settings(analysis: Analysis, series: Series) -> Iterator[str]:
    own = analysis["curves"][analysis["curves"]["experiment"] == series.name]
    yield from dict.fromkeys(str(s) for s in own["setting"])


def section(series: Series, setting: str, analysis: Analysis, alpha: float, index: int) -> Section:
    """Everything about one experiment and setting."""
    anchor = f"e{index}"
    found = Section(anchor, series.title, setting)
    curves = _part(analysis["curves"], series, setting)
    final = _part(analysis["final"], series, setting)
    times = _part(analysis["times"], series, setting)
    comparisons = _part(analysis["comparisons"], series, setting)
    degradation = _part(analysis["degradation"], series, setting)
    found.sentences = [
        degradation_sentence(row, series.metric, alpha) for row in degradation.to_dict("records")
    ]
    found.curves = _figure(
        f"{anchor}-curves",
        learning_curves(curves, series.thresholds),
        f"Learning curves of {series.title} by norm and batch size",
        f"Validation {series.metric} before training and after each evaluation. Lines are "
        "medians over seeds, bands reach from the 10 to the 90 % quantile, crosses mark "
        "evaluations at which runs had diverged, and dashed lines are the thresholds.",
    )
    for theta in series.thresholds:
        found.times.append(
            _figure(
                f"{anchor}-time-{theta:g}".replace(".", "-"),
                time_to_threshold(times[times["threshold"] == theta]),
                f"Epochs to {series.metric} {theta:g} in {series.title}",
                f"Mean epochs until validation {series.metric} first reaches {theta:g}; a run "
                "that never does counts with the whole budget (dashed). Above a bar: how many "
                "runs reached it, where not all did.",
            )
        )
    if series.thresholds:
        found.time_rows = _time_rows(times, alpha)
    if not comparisons.empty:
        found.comparisons = _comparison_rows(comparisons, series.metric, alpha)
    if len(final["batch_size"].unique()) > 1:
        name = "error" if series.metric == "accuracy" else "loss"
        found.small_batch = _figure(
            f"{anchor}-batch",
            error_by_batch_size(final, f"final validation {name}"),
            f"Final validation {name} against batch size in {series.title}",
            f"Final validation {name} ({_window(series.window)}) of every "
            "run against the batch size. Small marks are runs, large ones the means over seeds.",
        )
        if not degradation.empty:
            found.degradation = _degradation_rows(degradation, series.metric, alpha)
    return found


def _window(window: int) -> str:
    return "the last evaluation" if window == 1 else f"mean of the last {window} evaluations"


#: What the page says of an invocation whose record does not hold it.
_UNKNOWN: dict[str, Any] = {
    "command": (), "versions": {}, "git_commit": None, "git_changed": None,
    **dict.fromkeys(("started", "cpu", "cores", "platform", "device", "workers", "python"), "?"),
}  # fmt: skip


def context(results: Results, analysis: Analysis) -> dict[str, Any]:
    """All that the template needs."""
    study = results.study
    sections: list[Section] = []
    for series in study.experiments:
        for setting in _settings(analysis, series):
            sections.append(section(series, setting, analysis, study.alpha, len(sections) + 1))
    whole, partial = completeness_table(analysis["completeness"])
    invocations = results.provenance.get("invocations", [])
    return {
        "study": study,
        "sections": sections,
        "claims": [ClaimLine.of(row) for row in analysis["claims"].to_dict("records")],
        "learning_rates": _rates(analysis["learning_rates"]),
        "completeness": whole,
        "incomplete": partial,
        "provenance": _UNKNOWN | invocations[-1] if invocations else {},
        "invocations": len(invocations),
        "overrides": list(dict.fromkeys(o for i in invocations for o in i.get("overrides", []))),
        "undefined": _undefined(results),
        "norm_name": norm_name,
    }


@dataclass(frozen=True)
class ClaimLine:
    """A claim and its verdict, as a reader needs it."""

    name: str
    verdict: str
    marks: list[str]
    text: str
    sentence: str
    chapter: str
    note: str

    @classmethod
    def of(cls, row: dict[Any, Any]) -> ClaimLine:
        """From a row of the table ``claims``."""
        marks = [mark for mark in ("fragile", "exploratory") if row[mark]]
        note = str(row["warnings"])
        if row["seeds_to_decide"] == row["seeds_to_decide"]:
            needed = f"about {row['seeds_to_decide']:.0f} seeds would decide an effect of this size"
            note = "; ".join(filter(None, [needed, note]))
        return cls(
            str(row["hypothesis"]), str(row["verdict"]), marks, str(row["text"]),
            str(row["sentence"]), str(row["chapter"]), note,
        )  # fmt: skip


def _rates(table: pd.DataFrame) -> Table | None:
    if table.empty:
        return None
    rows = [
        [
            str(r["experiment"]), str(r["norm"]), str(r["batch_size"]), f"{r['learning_rate']:g}",
            f"{r['stable_low']:g} to {r['stable_high']:g}", f"{r['stable_octaves']:.1f}",
            f"{r['edge_of_grid']} rate of the grid" if r["edge_of_grid"] else "",
        ]
        for _, r in table.iterrows()
    ]  # fmt: skip
    heading = ["experiment", "norm", "batch size", "learning rate", "stable range", "octaves",
               "warning"]  # fmt: skip
    return Table(heading, rows, [False, False, True, True, True, True, False],
                 "Learning rates, chosen on seeds of their own")  # fmt: skip


def _undefined(results: Results) -> list[str]:
    runs = results.runs[results.runs["status"] == "undefined"]
    found = runs.drop_duplicates(["experiment", "norm", "batch_size", "error"])
    return [
        f"{r['experiment']}, {r['norm']}, batch size {r['batch_size']}: {r['error']}"
        for _, r in found.iterrows()
    ]
