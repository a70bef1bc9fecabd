"""Which norm to use at which batch size: what the comparisons of all pairs allow to say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from normbench.protocol.study import Experiment
from normbench.report import boundary, words
from normbench.report.blocks import Column, Table, Value
from normbench.report.phrases import norm_name
from normbench.report.source import Source
from normbench.stats.automatic import may_be_best


@dataclass(frozen=True)
class Advice:
    """At one batch size: the norms that may be best, and those that are worse than another.

    ``best`` has the lowest mean error, ``tied`` are the others that may be best: none of these is
    decidedly worse than any norm. ``worse`` are. ``beats_all`` says that ``best`` is decidedly
    better than each of them. ``refusal`` says why nothing could be decided, ``fragile`` that runs
    diverged and seeds are few, ``claims`` which claims have the word on some of the pairs.
    """

    batch_size: int
    best: str
    error: float
    tied: tuple[str, ...] = ()
    worse: tuple[str, ...] = ()
    beats_all: bool = False
    refusal: str = ""
    fragile: bool = False
    claims: tuple[str, ...] = ()

    @property
    def same(self) -> tuple[object, ...]:
        """What must be equal for two batch sizes to be spoken of together."""
        alone = self.best if not self.tied or not self.worse else ""
        sets = (frozenset([self.best, *self.tied]), frozenset(self.worse))
        return (alone, *sets, self.beats_all, self.refusal, self.fragile, self.claims)


def advice(source: Source, series: Experiment, setting: str) -> list[Advice]:
    """The advice of one experiment and setting, by batch size."""
    final = source.rows("final", series, setting)
    pairs = source.rows("pairs", series, setting)
    found = []
    for size, own in final.groupby("batch_size", sort=True):
        means = own.groupby("norm", sort=False)["error"].mean()
        rows = pairs[pairs["batch_size"] == size].to_dict("records")
        if rows or len(means) < 2:
            found.append(_at(int(str(size)), {str(n): float(e) for n, e in means.items()}, rows))
    return found


def _at(size: int, means: dict[str, float], rows: Sequence[Mapping[Any, Any]]) -> Advice:
    """The advice at one size from its pairs."""
    compared = [n for n in means if any(n in (row["norm"], row["other"]) for row in rows)]
    worse = {
        (row["other"], row["norm"]) if row["finding"] == "better" else (row["norm"], row["other"])
        for row in rows
        if row["finding"] != "undecided"
    }
    left = may_be_best(compared, worse) or tuple(means)
    best = min(left, key=lambda norm: means[norm])
    losers = tuple(norm for norm in compared if norm not in left)
    few = len(rows) and "few-seeds" in rows[0]["caveats"]
    why = [str(rows[0]["warnings"])] if few else [str(row["refusal"]) for row in rows]
    return Advice(
        size, best, float(means[best]),
        tied=tuple(norm for norm in left if norm != best),
        worse=losers,
        beats_all=bool(losers) and all((norm, best) in worse for norm in losers),
        refusal=why[0] if why and all(why) else "",
        claims=tuple(str(row["claim"]) for row in rows if row["claim"]),
        fragile=any(bool(row["fragile"]) for row in rows if row["finding"] != "undecided"),
    )  # fmt: skip


def _names(norms: tuple[str, ...], joint: str = "and") -> str:
    return words.listed((norm_name(n) for n in norms), joint)


#: As many pieces of advice are said in words; more are read off the table.
_SAID = 3


def sentences(found: list[Advice], metric: str) -> list[str]:
    """The advice in words, batch sizes with the same one together.

    Of many, the first, the middle and the last.
    """
    said = []
    name = words.error_name(metric)
    groups: dict[tuple[object, ...], list[Advice]] = {}
    for one in found:
        groups.setdefault(one.same, []).append(one)
    kept = list(groups.values())
    left_out = len(kept) - _SAID
    if left_out > 0:
        kept = [kept[0], kept[len(kept) // 2], kept[-1]]
    for same in kept:
        first = same[0]
        ends = [words.error(pick(a.error for a in same), metric) for pick in (min, max)]
        shown = ends[0] if ends[0] == ends[1] else f"{ends[0]} to {ends[1]}"
        where, best = f"at {words.sizes([a.batch_size for a in same])}", norm_name(first.best)
        marks = ["fragile: runs diverged, and seeds are few"] if first.fragile else []
        if first.claims:
            what = "claim" if len(first.claims) == 1 else "claims"
            marks.append(f"with the word of the {what} {words.listed(first.claims)}")
        mark = f" ({'; '.join(marks)})" if marks else ""
        if first.refusal:
            said.append(
                f"{where} {best} has the lowest mean {name} ({shown}), which decides nothing."
            )
        elif not first.tied and not first.worse:
            said.append(f"{where} {best} has a mean {name} of {shown}.")
        elif not first.tied:
            others = "both others" if len(first.worse) == 2 else "every other norm"
            if len(first.worse) == 1:
                others = norm_name(first.worse[0])
            why = f"it is better than {others}"
            if not first.beats_all:
                why = "every other norm is worse than it or than another"
            said.append(f"{where} use {best} (mean {name} {shown}): {why}{mark}.")
        elif not first.worse:
            said.append(
                f"{where} no norm is told apart from another (lowest mean {name}: {best}, {shown})"
                f"{mark}."
            )
        else:
            lowest = [norm_name(n) for n in dict.fromkeys(a.best for a in same)]
            said.append(
                f"{where} use {_names((first.best, *first.tied), 'or')}, not told apart (lowest "
                f"mean {name}: {words.listed(lowest, 'or')}, {shown}); {_names(first.worse)} "
                f"{'is' if len(first.worse) == 1 else 'are'} worse{mark}."
            )
    said += [f"nothing is decided by itself: {why}." for why in dict.fromkeys(
        one.refusal for one in found if one.refusal)]  # fmt: skip
    if left_out > 0:
        said.append("the other batch sizes are in the table of norms below.")
    return [words.capital(s) for s in said]


@boundary.block("the table of advice")
def advice_table(source: Source) -> Table | None:
    """The advice of every experiment and setting that compares norms."""
    rows = []
    for series, setting in source.groups():
        for one in advice(source, series, setting):
            if not one.tied and not one.worse:
                continue
            rows.append(
                [
                    Value(series.name, link=f"pairwise-{series.name}"),
                    words.text(source.place(setting)),
                    words.count(one.batch_size), Value(one.best),
                    Value(words.error(one.error, series.metric), sort=one.error),
                    Value(", ".join(one.tied)), Value(", ".join(one.worse)), Value(one.refusal),
                ]
            )  # fmt: skip
    if not rows:
        return None
    columns = [
        Column("experiment"), Column("setting"), Column("batch size", number=True),
        Column("lowest mean error", doc="the norm with the lowest mean final error (or loss)"),
        Column("its error", number=True),
        Column("may be best too", doc="norms that are not decidedly worse than any other"),
        Column("worse", doc="norms that are decidedly worse than another; all pairs of an "
               "experiment and setting are one family"), Column("note"),
    ]  # fmt: skip
    return Table("answer-norms", "Which norm at which batch size", columns, rows, filter_by=0,
                 folded=len(rows) > 12)  # fmt: skip
