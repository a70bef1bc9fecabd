"""Scale of the features: what units do to gradient descent, against what theory predicts."""

from __future__ import annotations

import pandas as pd

from normbench.figures.scale import descent_paths, steps_by_condition
from normbench.protocol.study import Series
from normbench.report import words
from normbench.report.blocks import Block, Column, Figure, Section, Table, Text
from normbench.report.source import Source, place, titled

#: Inputs as they are, and inputs of which every feature has the same spread.
_SHOWN = ("raw", "per-channel")


def _several(table: pd.DataFrame) -> bool:
    return table["dataset"].nunique() > 1


def _name(row: dict[str, object], several: bool) -> str:
    on = f"{row['input_norm']} inputs"
    return f"{on} of {row['dataset']}" if several else on


def _sentences(table: pd.DataFrame, shares: pd.DataFrame) -> list[str]:
    found, several = [], _several(table) if not table.empty else False
    for tolerance, part in table.groupby("tolerance", sort=False):
        said = []
        for row in part.to_dict("records"):
            where = f"{_name(row, several)} (condition number {row['condition']:,.3g})"  # type: ignore[arg-type]
            if row["reached"] == row["runs"]:
                said.append(f"{row['measured']:,.1f} steps with {where}")
            else:
                said.append(
                    f"more than {row['budget']:,.0f} steps in {row['runs'] - row['reached']} of "
                    f"{row['runs']} runs with {where}, predicted {row['predicted']:,.0f}"
                )
        found.append(
            f"To {100 * float(tolerance):g} % of the loss that the features explain, gradient "  # type: ignore[arg-type]
            f"descent takes {words.listed(said)}."
        )
    reached = table[table["reached"] == table["runs"]]
    if not reached.empty:
        found.append(
            "Where every run got there, measured and predicted steps differ by at most "
            f"{100 * reached['deviation'].max():.2g} %."
        )
    for (_, kind), part in shares.groupby(["dataset", "input_norm"], sort=False):
        top = part.loc[part["share"].idxmax()]
        found.append(
            f"With {kind} inputs the first step is {100 * top['share']:.3g} % along "
            f"{top['name']}, whose importance is {100 * top['importance']:.3g} %."
        )
    return found


def _path_figure(source: Source, series: Series) -> Figure | None:
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
        [f"{100 * left:.2g} % of the explained loss is left after {words.plural(n, 'step')} with "
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


def _steps_figure(source: Source, series: Series, table: pd.DataFrame) -> Figure:
    tolerance = table["tolerance"].min()
    own = table[table["tolerance"] == tolerance]
    label = f"Steps to {100 * tolerance:g} % by condition number in {series.title}"
    worst, best = own.loc[own["condition"].idxmax()], own.loc[own["condition"].idxmin()]
    said = (
        f"From condition number {best['condition']:,.3g} to {worst['condition']:,.3g} the "
        f"predicted steps go from {best['predicted']:,.0f} to {worst['predicted']:,.0f}."
    )
    return Figure(
        f"scale-{series.name}-steps",
        steps_by_condition(own, label),
        f"Steps until {100 * tolerance:g} % of the explained loss is left: the mean over seeds "
        f"with its {source.level}, hollow where a run did not get there within its budget, which "
        "then counts as its steps. Crosses are predicted from each run's first weights; the dashed "
        "line is the rule of thumb, which holds where all the error lies along the flattest "
        "direction and is too many steps otherwise.",
        said,
        label,
        words.csv(own),
    )


def _steps_table(source: Source, series: Series, table: pd.DataFrame) -> Table:
    rows = [
        [
            words.text(place(row["setting"])), words.text(row["input_norm"]),
            words.real(row["condition"]), words.real(row["rate"]),
            words.text(f"{100 * row['tolerance']:g} %"), words.count(row["predicted"]),
            words.real(row["measured"], ",.1f"),
            words.span(row["low"], row["high"], None, form=",.1f"),
            words.text(f"{row['reached']}/{row['runs']}"),
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
        Column(source.level, number=True), Column("reached"),
        Column("deviation, %", number=True, doc="largest difference of a run from its own "
               "prediction, both read at the run's evaluations"),
    ]  # fmt: skip
    caption = f"Steps to tolerance against the condition number: {series.title}"
    return Table(f"scale-{series.name}-table", caption, columns, rows)


def _shares_table(source: Source, series: Series, shares: pd.DataFrame) -> Table:
    rows = [
        [
            words.text(place(row["setting"])), words.text(row["input_norm"]),
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


def parts(source: Source) -> list[Section]:
    """A part for every experiment with linear regressions that recorded their weights."""
    found = []
    for series in source.study.experiments:
        table, shares = source.rows("scale", series), source.rows("scale_shares", series)
        path = _path_figure(source, series)
        if table.empty and shares.empty and path is None:
            continue
        blocks: list[Block] = [Text(_sentences(table, shares))]
        blocks += [path] if path is not None else []
        if not table.empty:
            blocks += [_steps_figure(source, series, table), _steps_table(source, series, table)]
        if not shares.empty:
            blocks.append(_shares_table(source, series, shares))
        title = f"Scale of the features: {titled(series, '')}"
        found.append(Section(f"scale-{series.name}", title, blocks))
    return found
