"""Scale of the features: what units do to gradient descent, against what theory predicts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from normbench.analysis.labels import values
from normbench.analysis.settings import INPUT_NORM
from normbench.figures.scale import descent_paths, steps_by_condition, three_digits
from normbench.protocol.study import Experiment
from normbench.report import boundary, words
from normbench.report.blocks import Block, Column, Figure, Section, Table, Text, Value
from normbench.report.source import Source

#: Inputs as they are, and inputs of which every feature has the same spread.
_SHOWN = ("raw", "per-channel")


def _place(source: Source, row: Mapping[Any, Any]) -> str:
    """The setting of a row but for its input normalization, which has a column of its own."""
    return values(source.setting(row["setting"]).without(INPUT_NORM))


def _name(row: Mapping[Any, Any], several: bool) -> str:
    on = f"{row['input_norm']} inputs"
    return f"{on} of {row['dataset']}" if several else on


def _sentences(table: pd.DataFrame, shares: pd.DataFrame) -> list[str]:
    found, several = [], shares["dataset"].nunique() > 1
    for tolerance, part in table.groupby("tolerance", sort=False):
        said = []
        for row in part.to_dict("records"):
            where = f"{_name(row, several)} (condition number {three_digits(row['condition'])})"
            if row["reached"] == row["runs"]:
                said.append(f"{row['measured']:,.1f} steps with {where}")
            else:
                said.append(
                    f"more than {row['budget']:,.0f} steps in {row['runs'] - row['reached']} of "
                    f"{row['runs']} runs with {where}, predicted {three_digits(row['predicted'])}"
                )
        found.append(
            f"Until {100 * float(tolerance):g} % of the loss that the features explain is left, "  # type: ignore[arg-type]
            f"gradient descent takes {'; '.join(said)}."
        )
    reached = table[table["reached"] == table["runs"]]
    if not reached.empty:
        found.append(
            "Where every run got there, measured and predicted steps differ by at most "
            f"{100 * reached['deviation'].max():.2g} %."
        )
    for _, part in shares.groupby(["setting", "input_norm"], sort=False):
        top = max(part.to_dict("records"), key=lambda row: float(row["share"]))
        found.append(
            f"With {_name(top, several)} the first step is {100 * top['share']:.3g} % along "
            f"{top['name']}, whose importance is {100 * top['importance']:.3g} %."
        )
    return found


@boundary.block("the figure of descent")
def _path_figure(source: Source, series: Experiment) -> Figure | None:
    contours = source.rows("scale_contours", series)
    contours = contours[contours["input_norm"].isin(_SHOWN)].drop_duplicates("input_norm")
    if contours.empty:
        return None
    paths = source.rows("scale_paths", series)
    label = f"Loss over both weights and the path of gradient descent in {series.title}"
    last = {
        str(row["input_norm"]): (float(own["excess"].iloc[-1]), int(own["step"].iloc[-1]))
        for row in contours.to_dict("records")
        for own in [paths[(paths["input_norm"] == row["input_norm"])
                          & (paths["setting"] == row["setting"])]]
    }  # fmt: skip
    said = words.listed(
        [f"{100 * left:.3g} % of the explained loss is left after {words.plural(n, 'step')} with "
         f"{kind} inputs" for kind, (left, n) in last.items()]
    )  # fmt: skip
    return Figure(
        f"scale-{series.name}-path",
        descent_paths(paths, contours, label),
        "Lines of equal training loss over the two weights, cut at the bias with which the path "
        "ends, and the weights of the first seed after every step. Within a panel both axes have "
        "the same scale, so that a long valley is drawn as long as it is; what lies outside is "
        "left out.",
        f"At a rate of {contours['rate'].iloc[0]:g}/λ_max, {said}.",
        label,
        words.csv(paths[paths["input_norm"].isin(list(last))]),
    )


@boundary.block("the figure of steps by condition number")
def _steps_figure(source: Source) -> Figure | None:
    """All cells of the study that descend at the most common rate to the smallest tolerance."""
    table = source.analysis["scale"]
    if table.empty:
        return None
    table = table[table["rate"].round(6) == table["rate"].round(6).mode().min()]
    own = table[table["tolerance"] == table["tolerance"].min()]
    if own["condition"].nunique() < 2:
        return None
    tolerance, rate = own["tolerance"].iloc[0], own["rate"].iloc[0]
    label = f"Steps to {100 * tolerance:g} % of the explained loss by condition number"
    worst, best = own.loc[own["condition"].idxmax()], own.loc[own["condition"].idxmin()]
    ends = [
        f"{three_digits(row['predicted'])} at condition number "
        f"{three_digits(row['condition'])} ({row['input_norm']} inputs of {row['dataset']})"
        for row in (best, worst)
    ]
    said = f"The predicted steps go from {ends[0]} to {ends[1]}."
    return Figure(
        "scale-steps",
        steps_by_condition(own, label),
        f"Steps at a rate of {rate:g}/λ_max until {100 * tolerance:g} % of the explained loss is "
        f"left: the mean over seeds with its {source.level}, hollow where a run did not get there "
        "within its budget, which then counts as its steps. Crosses are predicted from each run's "
        "first weights; the dashed line is the rule of thumb, which holds where all the error "
        "lies along the flattest direction and is too many steps otherwise.",
        said,
        label,
        words.csv(own),
    )


def _steps_table(source: Source, series: Experiment, table: pd.DataFrame) -> Table:
    rows = [
        [
            words.text(_place(source, row)), words.text(row["input_norm"]),
            Value(three_digits(row["condition"]), sort=float(row["condition"])),
            words.real(row["rate"]),
            words.text(f"{100 * row['tolerance']:g} %"), words.count(row["predicted"]),
            words.real(row["measured"], ",.1f"),
            words.span(row["low"], row["high"], None, form=",.1f"),
            Value(f"{row['reached']} of {row['runs']}", sort=row["reached"] / row["runs"]),
            words.real(100 * row["deviation"], ".2g"),
        ]
        for row in table.to_dict("records")
    ]  # fmt: skip
    columns = [
        Column("setting"), Column("input normalization"),
        Column("condition number", number=True, doc="largest over smallest eigenvalue of the "
               "Hessian of the mean squared error on all training items, with the bias"),
        Column("rate", number=True, doc="in units of 1/λ_max"),
        Column("explained loss left"),
        Column("steps predicted", number=True, doc="mean over seeds, from the first weights"),
        Column("steps measured", number=True, doc="mean over seeds, restricted to the budget"),
        Column(source.level, number=True), Column("reached", number=True),
        Column("deviation, %", number=True, doc="largest difference of a run from its own "
               "prediction, both read at the run's evaluations"),
    ]  # fmt: skip
    caption = f"Steps to tolerance against the condition number: {series.title}"
    return Table(f"scale-{series.name}-table", caption, columns, rows)


def _shares_table(source: Source, series: Experiment, shares: pd.DataFrame) -> Table:
    rows = [
        [
            words.text(_place(source, row)), words.text(row["input_norm"]),
            words.text(row["name"]), words.real(100 * row["share"], ".3g"),
            words.span(100 * row["low"], 100 * row["high"], None, form=".3g"),
            words.real(100 * row["importance"], ".3g"), words.count(row["runs"]),
        ]
        for row in shares.to_dict("records")
    ]  # fmt: skip
    columns = [
        Column("setting"), Column("input normalization"), Column("feature"),
        Column("share of the first step, %", number=True, doc="of the squared length of the "
               "weights' change, mean over seeds"),
        Column(source.level, number=True),
        Column("importance, %", number=True, doc="the feature's share of the squared standardized "
               "coefficients of the best linear model"),
        Column("seeds", number=True),
    ]  # fmt: skip
    caption = f"Whom the first step serves: {series.title}"
    return Table(f"scale-{series.name}-shares", caption, columns, rows, filter_by=1)


def part(source: Source) -> Section | None:
    """All about the linear regressions that recorded their weights; None where there are none."""
    parts = _parts(source)
    figure = _steps_figure(source)
    said = (
        "The training loss of a linear regression is a quadratic of the weights, so that the path "
        "of gradient descent from given weights is known in closed form. What a unit changes is "
        "the condition number: how much steeper the loss is one way than another. Rates are in "
        "units of 1/λ_max, one over its largest curvature."
    )
    blocks: list[Block] = [Text([said])]
    blocks += [figure] if figure is not None else []
    return Section("scale", "Scale of the features", blocks, parts) if parts else None


def _parts(source: Source) -> list[Section]:
    """A part for every experiment with such cells."""
    found = []
    for series in source.study.experiments:
        table, shares = source.rows("scale", series), source.rows("scale_shares", series)
        path = _path_figure(source, series)
        if table.empty and shares.empty and path is None:
            continue
        blocks: list[Block] = [Text(_sentences(table, shares))]
        blocks += [path] if path is not None else []
        if not table.empty:
            blocks.append(_steps_table(source, series, table))
        if not shares.empty:
            blocks.append(_shares_table(source, series, shares))
        found.append(Section(f"scale-{series.name}", series.title, blocks))
    return found
