"""What happened inside the networks: probes over training, layer by layer, and their cost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from normbench.catalog import quantity
from normbench.errors import UsageError
from normbench.figures.mechanisms import drawn_rows, mechanism_curves, upright
from normbench.protocol.study import Experiment
from normbench.quantities import Quantity
from normbench.report import boundary, words
from normbench.report.blocks import Block, Column, Figure, Section, Table, Text
from normbench.report.phrases import norm_name
from normbench.report.source import Source


def _described(name: str) -> Quantity:
    """The quantity, or its bare name where the package that measured it is not installed."""
    try:
        return quantity(name)
    except UsageError:
        return Quantity(name, name.replace("-", " "), "Measured by a probe of another package.")


def _named(what: Quantity) -> str:
    return what.title + (f" ({what.unit})" if what.unit else "")


def _says(source: Source, table: pd.DataFrame, what: Quantity) -> str:
    """The largest and the smallest median at the last evaluation, at either end of the sizes."""
    setting, own = str(table["setting"].iloc[0]), table[table["median"].notna()]
    alone = table["norm"].nunique() == 1 and table["setting"].nunique() > 1
    own = own if alone else own[own["setting"] == setting]
    parts = []
    sizes = sorted({int(b) for b in own["batch_size"]})
    for size in dict.fromkeys(sizes[:1] + sizes[-1:]):
        lines = own[own["batch_size"] == size]
        last = lines.loc[lines.groupby(["setting", "norm"], sort=False)["epoch"].idxmax()]
        order = last.sort_values("median", ascending=False, kind="stable")
        first, final = order.iloc[0], order.iloc[-1]
        said = f"at batch size {size} {_median(source, first, alone)}"
        parts.append(
            said
            if len(order) == 1
            else f"{said} is largest, {_median(source, final, alone)} smallest"
        )
    if not parts:
        return f"The {what.title} was no finite number in any run."
    where = "" if alone else source.within(setting)
    lost = int(table["undefined"].sum())
    tail = f" Not finite: {words.plural(lost, 'value')}." if lost else ""
    said = f"median {what.title} at the last evaluation{where}: {'; '.join(parts)}.{tail}"
    return words.capital(said)


def _median(source: Source, row: Mapping[Any, Any] | pd.Series, alone: bool) -> str:
    """The median of a line, named by its setting where there is only one norm."""
    name = source.said(row["setting"]) if alone else norm_name(str(row["norm"]))
    return f"{name} ({row['median']:.3g})"


@boundary.block("a figure of mechanisms")
def _figure(source: Source, series: Experiment, name: str, table: pd.DataFrame) -> Figure:
    what = _described(name)
    drawn = drawn_rows(table)
    label = f"{words.capital(what.title)} over training in {series.title}"
    panels = drawn.groupby(["setting", "batch_size"]).ngroups
    left_out = table.groupby(["setting", "batch_size"]).ngroups - panels
    more = (
        f" {words.plural(left_out, 'further panel')} not drawn: see the saved table mechanisms."
        if left_out
        else ""
    )
    scale = " The axis is logarithmic." if upright(drawn, what.logarithmic).log else ""
    return Figure(
        f"mechanisms-{series.name}-{name}",
        mechanism_curves(drawn, source.look, label, up=_axis(what), logarithmic=what.logarithmic),
        f"{words.capital(what.title)}. {what.reading} Lines are medians over seeds, bands reach "
        f"from the 10 to the 90 % quantile.{scale}{more}",
        _says(source, table, what),
        label,
        words.csv(drawn),
        wide=panels > 1,
    )


def _axis(what: Quantity, most: int = 34) -> str:
    """The name of the upright axis: the title as far as it fits, else the quantity's name."""
    named = _named(what)
    return named if len(named) <= most else what.name.replace("-", " ")


#: With more rows than this a table of layers keeps the smallest and the largest batch size alone.
MOST_ROWS = 400


def _layers(source: Source, series: Experiment, table: pd.DataFrame) -> Table | None:
    """Every layer at the last evaluation that has a value."""
    own = table[table["layer"] != ""]
    if own.empty:
        return None
    keys = ["setting", "norm", "batch_size", "probe", "layer"]
    last = own.loc[own.groupby(keys, sort=False)["step"].idxmax()]
    caption = f"Layer by layer at the last evaluation: {series.title}"
    if len(last) > MOST_ROWS and last["batch_size"].nunique() > 2:
        ends = [last["batch_size"].min(), last["batch_size"].max()]
        last = last[last["batch_size"].isin(ends)]
        caption += f" ({words.sizes(ends)}; for the others see the saved table mechanisms)"
    rows = [
        [
            words.text(_named(_described(r["probe"])), hint=_described(r["probe"]).reading),
            words.text(r["layer"]), words.text(source.place(r["setting"])), words.text(r["norm"]),
            words.count(r["batch_size"]), words.real(r["epoch"], "g"),
            words.real(r["median"], ".3g"), words.span(r["low"], r["high"], None, form=".3g"),
            words.count(r["runs"]),
        ]
        for r in last.to_dict("records")
    ]  # fmt: skip
    columns = [
        Column("quantity"), Column("layer"), Column("setting"), Column("norm"),
        Column("batch size", number=True),
        Column("epoch", number=True, doc="the last evaluation at which it has a value"),
        Column("median", number=True, doc="over seeds"),
        Column("10 to 90 %", number=True, doc="quantiles over seeds"),
        Column("runs", number=True, doc="with a finite value"),
    ]  # fmt: skip
    return Table(f"mechanisms-{series.name}-layers", caption, columns, rows, filter_by=0,
                 folded=len(rows) > 30)  # fmt: skip


def _cost(source: Source, series: Experiment) -> str:
    costs = source.rows("probe_costs", series)
    if costs.empty:
        return "What the probes took of the runs' time is not recorded."
    shares = costs["share"].dropna()
    spent = (costs["probe_seconds"] * costs["runs"]).sum() / costs["runs"].sum()
    said = f"The probes took {spent:.3g} s of a run on average"
    if shares.empty:
        return f"{said}."
    low, high = 100 * shares.min(), 100 * shares.max()
    span = f"{low:.0f} %" if f"{low:.0f}" == f"{high:.0f}" else f"{low:.0f} to {high:.0f} %"
    return f"{said}, {span} of its time by configuration. They change nothing in training."


@boundary.part("mechanisms")
def _part(source: Source, series: Experiment) -> Section | None:
    table = source.rows("mechanisms", series)
    if table.empty:
        return None
    whole = table[table["layer"] == ""]
    blocks: list[Block] = [Text([_cost(source, series)])]
    blocks += [
        _figure(source, series, str(name), own) for name, own in whole.groupby("probe", sort=False)
    ]
    layers = _layers(source, series, table)
    blocks += [layers] if layers is not None else []
    return Section(f"mechanisms-{series.name}", series.title, blocks)


def section(source: Source) -> Section | None:
    """The probes of every experiment that has some; nothing where none has."""
    parts = [p for p in (_part(source, s) for s in source.study.experiments) if p is not None]
    if not parts:
        return None
    said = (
        "Measured at each evaluation on fixed training batches, the same for all norms of a seed, "
        "in training mode: batch norm as it is in training, not as it is evaluated. Medians "
        "describe; what is claimed about them is tested among the claims."
    )
    return Section("mechanisms", "Mechanisms", [Text([said])], parts)
