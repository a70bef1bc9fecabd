"""Convergence speed: learning curves, time to each threshold, and the profile over many."""

from __future__ import annotations

import pandas as pd

from normbench.figures.curves import learning_curves, thinned
from normbench.figures.profile import profile
from normbench.figures.times import time_to_threshold
from normbench.protocol.study import Experiment
from normbench.report import boundary, words
from normbench.report.blocks import Block, Figure, Section, Text
from normbench.report.phrases import norm_name
from normbench.report.sections.time_table import time_table
from normbench.report.source import Source


def _ends(frame: pd.DataFrame) -> list[tuple[str, int]]:
    """The first setting's smallest and largest batch size."""
    setting = str(frame["setting"].iloc[0])
    own = sorted({int(b) for b in frame[frame["setting"] == setting]["batch_size"]})
    return [(setting, b) for b in dict.fromkeys([own[0], own[-1]])]


def _at(source: Source, setting: str, batch: int) -> str:
    return f"at batch size {batch}{source.within(setting)}"


def _curves_say(source: Source, curves: pd.DataFrame, series: Experiment) -> str:
    parts = []
    alone = curves["norm"].nunique() == 1 and curves["setting"].nunique() > 1
    for setting, batch in _ends(curves):
        own = curves[curves["batch_size"] == batch]
        own = own if alone else own[own["setting"] == setting]
        at = _at(source, "" if alone else setting, batch)
        last = own.loc[own.groupby(["setting", "norm"], sort=False)["epoch"].idxmax()]
        last = last[last["median"].notna()]
        if last.empty:
            parts.append(f"{at} every run had diverged")
            continue
        order = last.sort_values("median", ascending=series.metric != "accuracy", kind="stable")
        first, final = order.iloc[0], order.iloc[-1]
        names = [
            source.said(row["setting"]) if alone else norm_name(row["norm"])
            for row in (first, final)
        ]
        said = f"{at} {names[0]}"
        if len(order) == 1:
            parts.append(f"{said} ends at {first['median']:.3f}")
            continue
        said += f" ends best ({first['median']:.3f}) and {names[1]} worst"
        parts.append(f"{said} ({final['median']:.3f})")
    dead = curves[curves["diverged"] > 0].groupby(["setting", "norm", "batch_size"])["diverged"]
    lost = int(dead.max().sum())
    tail = f" {words.plural(lost, 'run')} diverged." if lost else " No run diverged."
    what = f"Median validation {series.metric}"
    return f"{what} at the last evaluation: {'; '.join(parts)}.{tail}"


@boundary.block("the figure of learning curves")
def _curve_figure(source: Source, series: Experiment) -> Figure:
    curves = source.rows("curves", series)
    drawn = thinned(curves)
    left_out = len(curves.groupby(["setting", "batch_size"])) - len(
        drawn.groupby(["setting", "batch_size"])
    )
    more = (
        f" {words.plural(left_out, 'further panel')} not drawn: see the saved table curves."
        if left_out
        else ""
    )
    label = f"Learning curves of {series.title} by norm and batch size"
    return Figure(
        f"convergence-{series.name}-curves",
        learning_curves(drawn, series.thresholds, source.look, label),
        f"Validation {series.metric} before training and after each evaluation. Lines are medians "
        "over seeds, bands reach from the 10 to the 90 % quantile, a cross stands where further "
        "runs have diverged, and dashed lines are the thresholds. The right end is the budget, at "
        f"which times to a threshold are censored.{more}",
        _curves_say(source, curves, series),
        label,
        words.csv(drawn),
    )


def _times_say(source: Source, times: pd.DataFrame) -> str:
    if not times["reached"].any():
        return "No run reached any of the thresholds."
    share = times.groupby("threshold")["reached"].sum() / times.groupby("threshold")["runs"].sum()
    common = share[share >= min(0.5, share.max())]  # the hardest that is no exception
    theta = common.index.min() if times["metric"].iloc[0] == "loss" else common.index.max()
    own = times[times["threshold"] == theta]
    parts = []
    for setting, batch in _ends(own):
        part = own[(own["setting"] == setting) & (own["batch_size"] == batch)]
        order = part.sort_values("restricted_mean", kind="stable")
        first, last = order.iloc[0], order.iloc[-1]
        said = f"{_at(source, setting, batch)} {_mean(first)}"
        parts.append(said if len(order) == 1 else f"{said}, {_mean(last)}")
    runs = f"{int(own['reached'].sum()):,} of {words.plural(int(own['runs'].sum()), 'run')}"
    return (
        f"Threshold {theta:g} was reached by {runs}; fastest and slowest on average: "
        f"{'; '.join(parts)}."
    )


def _mean(row: pd.Series) -> str:
    if not row["reached"]:
        return f"{norm_name(row['norm'])} never gets there"
    said = f"{norm_name(row['norm'])} takes {row['restricted_mean']:.2f} epochs"
    if pd.notna(row["low"]):
        said += f" ({row['low']:.2f} to {row['high']:.2f})"
    return said


@boundary.block("the figure of times")
def _time_figure(source: Source, series: Experiment, seconds: bool) -> Figure | None:
    times = source.rows("times", series).assign(metric=series.metric)
    runs = source.rows("run_times", series)
    if times.empty or (seconds and not times["seconds"].notna().any()):
        return None
    unit = "isolated seconds" if seconds else "epochs"
    label = f"Time to threshold in {unit} in {series.title}"
    how = (
        "Seconds (log scale) are training steps times the median of the isolated step time; "
        if seconds
        else "An epoch is one pass over the training split, the same number of samples for "
        "every norm and (but for a last part of a batch) every batch size; "
    )
    return Figure(
        f"convergence-{series.name}-{'seconds' if seconds else 'times'}",
        time_to_threshold(times, runs, source.look, label, seconds=seconds),
        "Each dot is a seed. Hollow ones never reached the threshold and count with the "
        "whole budget, crosses diverged before. Markers are the restricted means with "
        f"their {source.level}. {how}above a norm stands how many runs reached the "
        "threshold, where not all did.",
        _seconds_say(source, times) if seconds else _times_say(source, times),
        label,
        words.csv(_drawn_times(times, runs, seconds)),
    )


def _drawn_times(times: pd.DataFrame, runs: pd.DataFrame, seconds: bool) -> pd.DataFrame:
    """What a figure of times draws: a row per seed, and one with the mean of each cell.

    A page holds tens of thousands of these rows, so that nothing stands in them twice.
    """
    keys = ["setting", "norm", "batch_size", "threshold"]
    names = ["seconds", "seconds_low", "seconds_high"] if seconds else [
        "restricted_mean", "low", "high"]  # fmt: skip
    dots = runs[[*keys, "seed", "time", "reached", "diverged"]]
    dots = dots.astype({"reached": int, "diverged": int})
    if seconds:
        cells = times.set_index(keys)
        factor = (cells["seconds"] / cells["restricted_mean"]).rename("factor").reset_index()
        dots = dots.merge(factor, on=keys)
        dots["time"] *= dots.pop("factor")
    means = times[[*keys, *names, "reached", "diverged"]].assign(seed="mean")
    means = means.rename(columns=dict(zip(names, ["time", "low", "high"], strict=True)))
    found = pd.concat([dots, means], ignore_index=True)
    return found if found["setting"].any() else found.drop(columns="setting")


def _seconds_say(source: Source, times: pd.DataFrame) -> str:
    known = times[times["seconds"].notna()]
    setting, batch = _ends(known)[-1]
    theta = known["threshold"].max()
    part = known[
        (known["setting"] == setting)
        & (known["batch_size"] == batch)
        & (known["threshold"] == theta)
    ].sort_values("seconds", kind="stable")
    said = []
    for _, r in part.iterrows():
        notes = []
        if pd.notna(r["seconds_low"]):
            notes.append(f"{r['seconds_low']:.3g} to {r['seconds_high']:.3g}")
        if r["reached"] < r["runs"]:
            notes.append(f"{r['reached']} of {r['runs']} runs got there")
        shown = f" ({', '.join(notes)})" if notes else ""
        said.append(f"{norm_name(r['norm'])} {r['seconds']:.3g} s{shown}")
    return f"Mean seconds to {theta:g} {_at(source, setting, batch)}: {words.listed(said)}."


def _profile_say(table: pd.DataFrame) -> str:
    parts = []
    for (norm, batch), part in table.groupby(["norm", "batch_size"], sort=False):
        faster = part[part["low"] > 0]
        slower = part[part["high"] < 0]
        said = []
        for word, own in (("faster", faster), ("slower", slower)):
            if not own.empty:
                far = own["saved"].abs().max()
                said.append(f"{word} at {len(own)} of {len(part)} thresholds "
                            f"(by up to {far:.2f} epochs)")  # fmt: skip
        found = words.listed(said) if said else "neither faster nor slower beyond noise"
        parts.append(f"{norm_name(str(norm))} at batch size {batch} is {found}")
    base = norm_name(str(table["reference"].iloc[0]))
    return words.capital(f"against {base}, {'; '.join(parts)}.")


@boundary.block("the profile over thresholds")
def _profile_figure(source: Source, series: Experiment) -> Figure | str | None:
    table = source.rows("profile", series)
    drawn = table[table["threshold"].notna()]
    if drawn.empty:
        if table.empty:
            return None
        return f"No profile over thresholds: {table['refusal'].iloc[0]}."
    label = f"Epochs saved at every threshold in {series.title}"
    setting = str(drawn["setting"].iloc[0])
    where = f" Of the settings, {source.said(setting)} is shown." if source.several(series) else ""
    refused = [str(r) for r in dict.fromkeys(drawn["refusal"]) if r]
    said = _profile_say(drawn) if not refused else f"No band: {'; '.join(refused)}."
    return Figure(
        f"convergence-{series.name}-profile",
        profile(drawn, series.metric, source.look, label),
        f"Mean epochs that a norm saves against {norm_name(series.reference)} until it first "
        "reaches each threshold; above 0 it is faster. The 20 thresholds are pooled from all runs, "
        "blind to their norm. The band holds for all thresholds, norms and sizes at once "
        f"({100 * (1 - source.alpha):g} %). Only the smallest and the largest batch size are "
        f"compared.{where}",
        said,
        label,
        words.csv(drawn),
    )


@boundary.part("convergence")
def _part(source: Source, series: Experiment) -> Section | None:
    if source.rows("curves", series).empty:
        return None
    blocks: list[Block] = [_curve_figure(source, series)]
    drawn = [_time_figure(source, series, seconds) for seconds in (False, True)]
    found = [figure for figure in drawn if figure is not None]
    blocks += found
    if not found:
        blocks.append(Text(["The protocol sets no thresholds here, so no times to one are shown."]))
    over_all = _profile_figure(source, series)
    if isinstance(over_all, str):
        blocks.append(Text([over_all]))
    elif over_all is not None:
        blocks.append(over_all)
    return Section(f"convergence-{series.name}", series.title, blocks)


def section(source: Source) -> Section:
    """How fast each norm learns, experiment by experiment, and all times as numbers."""
    parts = [p for p in (_part(source, s) for s in source.study.experiments) if p is not None]
    blocks: list[Block] = []
    if not source.analysis["times"].empty:
        timed = source.analysis["times"]["seconds"].notna().any()
        if not timed and not source.results.imported:
            blocks.append(
                Text(
                    [
                        "Steps were never timed here, so times are in epochs and samples; "
                        "normbench time with the results folder adds isolated seconds."
                    ]
                )
            )
        blocks.append(time_table(source))
    return Section("convergence", "Convergence speed", blocks, parts)
