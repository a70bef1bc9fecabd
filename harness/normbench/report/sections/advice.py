"""Which norm to use at which batch size: what the comparisons of all pairs allow to say."""

from __future__ import annotations

from dataclasses import dataclass

from normbench.protocol.study import Experiment
from normbench.report import boundary, words
from normbench.report.blocks import Column, Table, Value
from normbench.report.phrases import norm_name
from normbench.report.source import Source


@dataclass(frozen=True)
class Advice:
    """At one batch size: the norm with the lowest mean error, and how the others compare.

    ``tied`` cannot be told apart from it at the family's error rate, ``worse`` can.
    ``refusal`` says why nothing could be tested.
    """

    batch_size: int
    best: str
    error: float
    tied: tuple[str, ...] = ()
    worse: tuple[str, ...] = ()
    refusal: str = ""

    @property
    def same(self) -> tuple[object, ...]:
        """What must be equal for two batch sizes to be spoken of together."""
        alone = self.best if not self.tied or not self.worse else ""
        return (alone, frozenset([self.best, *self.tied]), frozenset(self.worse), self.refusal)


def advice(source: Source, series: Experiment, setting: str) -> list[Advice]:
    """The advice of one experiment and setting, by batch size."""
    final = source.rows("final", series, setting)
    pairs = source.rows("pairs", series, setting)
    found = []
    for size, own in final.groupby("batch_size", sort=True):
        means = own.groupby("norm", sort=False)["error"].mean()
        best = str(means.idxmin())
        compared = pairs[pairs["batch_size"] == size]
        mine = compared[(compared["norm"] == best) | (compared["other"] == best)]
        if mine.empty and len(means) > 1:
            continue
        tied, worse = list[str](), list[str]()
        for row in mine.to_dict("records"):
            other = str(row["other"] if row["norm"] == best else row["norm"])
            (tied if row["finding"] == "undecided" else worse).append(other)
        refusals = [str(r) for r in mine["refusal"]]
        refusal = refusals[0] if refusals and all(refusals) else ""
        found.append(
            Advice(int(str(size)), best, float(means[best]), tuple(tied), tuple(worse), refusal)
        )
    return found


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
        if first.refusal:
            said.append(
                f"{where} {best} has the lowest mean {name} ({shown}), but no test is possible: "
                f"{first.refusal}."
            )
        elif not first.tied and not first.worse:
            said.append(f"{where} {best} has a mean {name} of {shown}.")
        elif not first.tied:
            others = "both others" if len(first.worse) == 2 else "every other norm"
            if len(first.worse) == 1:
                others = norm_name(first.worse[0])
            said.append(f"{where} use {best} (mean {name} {shown}): it is better than {others}.")
        elif not first.worse:
            said.append(
                f"{where} no norm is told apart from another (lowest mean {name}: {best}, {shown})."
            )
        else:
            lowest = [norm_name(n) for n in dict.fromkeys(a.best for a in same)]
            said.append(
                f"{where} use {_names((first.best, *first.tied), 'or')}, not told apart (lowest "
                f"mean {name}: {words.listed(lowest, 'or')}, {shown}); {_names(first.worse)} "
                f"{'is' if len(first.worse) == 1 else 'are'} worse."
            )
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
        Column("not told apart", doc="norms that are not decidedly worse; all pairs of an "
               "experiment and setting are one family"),
        Column("worse", doc="norms with a decidedly higher error"), Column("note"),
    ]  # fmt: skip
    return Table("answer-norms", "Which norm at which batch size", columns, rows, filter_by=0,
                 folded=len(rows) > 12)  # fmt: skip
