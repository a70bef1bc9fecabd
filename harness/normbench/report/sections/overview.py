"""The first screen: every experiment at a glance, norms by batch sizes."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pandas as pd

from normbench.figures.batch_size import error_by_batch_size
from normbench.protocol.study import Experiment
from normbench.report import boundary, words
from normbench.report.blocks import Chip, Column, Overview, Text, Value
from normbench.report.phrases import norm_name
from normbench.report.sections.advice import Advice, advice
from normbench.report.source import Source

#: The small figure, and settings of which each has a row of the sentence.
_WIDTH, _HEIGHT, _SETTINGS = 290.0, 110.0, 3
#: Standard errors by which the end of a curve must differ from two thirds of it to be no noise.
_RISES = 2.0
#: The deviation of a normal distribution between its 10 and its 90 % quantile.
_SPREAD = 2.563


def overviews(source: Source) -> list[Overview | Text]:
    """An overview of each experiment that has results, or what is said in its place."""
    found: list[Overview | Text] = []
    for series in source.study.experiments:
        made = _overview(source, series) if len(source.rows("final", series)) else None
        if made is not None:
            found.append(made)
    return found


@boundary.block("the overview of an experiment")
def _overview(source: Source, series: Experiment) -> Overview:
    final = source.rows("final", series)
    settings = [str(s) for s in dict.fromkeys(final["setting"])]
    found = {setting: advice(source, series, setting) for setting in settings}
    sizes = [int(b) for b in sorted(final["batch_size"].unique())]
    columns = [Column("norm" if len(sizes) == 1 else "norm, by batch size")]
    columns += [Column("setting")] if len(settings) > 1 else []
    one = f"batch {sizes[0]}"
    columns += [Column(one if len(sizes) == 1 else f"{b:,}", number=True) for b in sizes]
    rows = [
        row
        for setting in settings
        for row in _rows(source, series, setting, found[setting], sizes, len(settings) > 1)
    ]
    name = words.error_name(series.metric)
    label = f"{words.capital(name)} of every seed against batch size in {series.title}"
    return Overview(
        f"overview-{series.name}",
        series.title,
        f"pairwise-{series.name}",
        sentence(source, found),
        columns,
        rows,
        _figure(source, series, settings[0], label) if len(sizes) > 1 else "",
        label,
        list(_chips(source, series, found)),
        any(map(_compares, found.values())),
    )


def _rows(
    source: Source, series: Experiment, setting: str, found: list[Advice], sizes: list[int],
    several: bool,
) -> Iterator[list[Value]]:  # fmt: skip
    final = source.rows("final", series, setting)
    by_size = {one.batch_size: one for one in found}
    cells = {
        (str(norm), int(str(size))): part
        for (norm, size), part in final.groupby(["norm", "batch_size"], sort=False)
    }
    for norm in dict.fromkeys(final["norm"]):
        head = [Value(str(norm)), *([words.text(source.place(setting))] if several else [])]
        yield head + [
            _cell(cells.get((norm, size)), by_size.get(size), str(norm), series.metric)
            for size in sizes
        ]


def _cell(part: pd.DataFrame | None, found: Advice | None, norm: str, metric: str) -> Value:
    """A mean error, and what is decided about it: by a sign, a shade and in words."""
    if part is None:
        return Value("")
    text, lost = words.error(float(part["error"].mean()), metric), int(part["diverged"].sum())
    if lost:
        text += f" ({lost} diverged)"
    if found is None or not (found.tied or found.worse):
        return Value(text)
    if norm in found.worse:
        return Value(text, mark="refuted", spoken="worse than another")
    if found.worse:
        return Value(text, mark="supported", spoken="may be best")
    return Value(text, mark="undecided", spoken="not told apart")


def sentence(source: Source, found: dict[str, list[Advice]]) -> str:
    """What an experiment says, in a sentence: of many settings, how many decide anything."""
    compared = {setting: some for setting, some in found.items() if _compares(some)}
    if not compared:
        return "Norms are not compared here."
    if len(compared) > _SETTINGS:
        decided = sum(any(one.worse for one in some) for some in compared.values())
        return (
            f"In {decided} of {len(compared)} settings a norm is worse than another at some batch "
            "size."
        )
    said = [
        (f"{source.said(setting)}: " if len(compared) > 1 else "") + _said(some)
        for setting, some in compared.items()
    ]
    return words.capital("; ".join(said) + ".")


def _compares(found: list[Advice]) -> bool:
    return any(one.tied or one.worse for one in found)


def _said(found: list[Advice]) -> str:
    refused = next((one.refusal for one in found if one.refusal), "")
    if refused:
        return f"nothing is decided by itself: {refused}"
    groups: dict[tuple[tuple[str, ...], str], list[int]] = {}
    for one in found:
        if one.tied or one.worse:
            best = tuple(sorted((one.best, *one.tied))) if one.worse else ()
            groups.setdefault((best, _how(one)), []).append(one.batch_size)
    parts = []
    for (best, how), sizes in groups.items():
        names = words.listed(map(norm_name, best), "or") if best else "no norm"
        parts.append(f"at {words.sizes(sizes)} {names} {how}")
    return "; ".join(parts)


def _how(one: Advice) -> str:
    """What is said of the norms that may be best at a size, and what limits that."""
    marks = ["fragile: runs diverged, and seeds are few"] if one.fragile else []
    if one.claims:
        what = "claim" if len(one.claims) == 1 else "claims"
        marks.append(f"with the word of the {what} {words.listed(one.claims)}")
    mark = f" ({'; '.join(marks)})" if marks else ""
    if not one.worse:
        return f"is told apart from another{mark}"
    if one.tied:
        return f"may be best{mark}"
    return f"{'is' if one.beats_all else 'alone may be'} best{mark}"


def _figure(source: Source, series: Experiment, setting: str, label: str) -> str:
    final, name = source.rows("final", series, setting), words.error_name(series.metric)
    if series.metric == "accuracy":
        final, name = final.assign(error=100 * final["error"]), "error in %"
    return error_by_batch_size(final, name, source.look, label, width=_WIDTH, height=_HEIGHT)


def _chips(source: Source, series: Experiment, found: dict[str, list[Advice]]) -> Iterator[Chip]:
    yield Chip(words.plural(len(series.seeds), "seed"), "methods-design")
    tune = series.tune
    if not source.results.imported:
        rate = "same learning rate for all" if tune is None else (
            f"learning rate chosen on {tune.on.label}" if tune.on is not None
            else "learning rates tuned"
        )  # fmt: skip
        yield Chip(rate, "methods-design" if tune is None else "pairwise-rates")
    own = source.rows("completeness", series)
    left = int(own[["failed", "missing"]].to_numpy().sum())
    if left:
        yield Chip("unfinished", "completeness-experiments", f"{left:,} runs failed or are missing")
    if any(one.fragile for some in found.values() for one in some):
        yield Chip("fragile", f"pairwise-{series.name}", "runs diverged, and seeds are few")
    chance = _at_chance(source, series)
    if chance:
        yield Chip("at chance", f"convergence-{series.name}", chance)
    rising = _still_improving(source.rows("curves", series))
    if rising:
        yield Chip(
            "still improving", f"convergence-{series.name}",
            f"the last third of the curves improves by more than noise in {rising}",
        )  # fmt: skip
    claims = source.rows("claims", series)
    if claims.empty or claims["exploratory"].astype(bool).all():
        what = "no claim is about it" if claims.empty else "its claims were declared afterwards"
        yield Chip("not declared before", "methods-deviations", what)


def _at_chance(source: Source, series: Experiment) -> str:
    """How many runs are no better than guessing, if any is: by their accuracy, with its noise.

    A run is at chance where its accuracy is at most that of naming one class, and two standard
    errors of a share over as many items as are tested.
    """
    runs = source.results.runs
    own = runs[(runs["experiment"] == series.name) & (runs["phase"] == "evaluation")]
    noise = source.rows("noise", series)
    if series.metric != "accuracy" or noise.empty or not (own["classes"] > 1).any():
        return ""
    chance, items = 1 / float(own["classes"].max()), float(noise["test_items"].min())
    final = source.rows("final", series)
    limit = chance + 2 * math.sqrt(0.25 / items)
    lost = int((1 - final["error"] <= limit).sum())
    return f"{lost:,} of {len(final):,} runs are no better than guessing" if lost else ""


def _still_improving(curves: pd.DataFrame) -> str:
    """In how many cells the median improves over the last third by more than noise; empty if none.

    The noise is the standard error of the median's mean at the end, by the quantiles of the runs.
    """
    rising = cells = 0
    for _, own in curves.groupby(["setting", "norm", "batch_size", "metric"], sort=False):
        ordered = own.sort_values("epoch")
        late = ordered[ordered["epoch"] >= 2 / 3 * ordered["epoch"].max()]
        if len(late) < 2:
            continue
        cells += 1
        first, last = late.iloc[0], late.iloc[-1]
        better = last["median"] - first["median"]
        better = better if last["metric"] == "accuracy" else -better
        error = (last["high"] - last["low"]) / _SPREAD / math.sqrt(max(1, last["runs"]))
        rising += bool(better > _RISES * max(error, 0.0) and better > 0)
    return f"{rising} of {cells} cells" if 2 * rising >= cells > 0 else ""
