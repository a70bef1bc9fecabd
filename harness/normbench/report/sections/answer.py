"""The answer first: what to use, where batch norm breaks, what is open; then the claims."""

from __future__ import annotations

import pandas as pd

from normbench.protocol.study import Experiment
from normbench.report import words
from normbench.report.blocks import Block, Overview, Section, Text
from normbench.report.phrases import degradation_sentence, norm_name
from normbench.report.sections.advice import advice, advice_table, sentences
from normbench.report.sections.claims_table import claims_table, in_words
from normbench.report.sections.completeness import totals, why_none
from normbench.report.sections.crossover import crossover_sentence
from normbench.report.sections.overview import overviews
from normbench.report.source import Source

#: As many undecided claims are named, and experiments told on a terminal.
_OPEN, _TOLD = 3, 3
_VERDICTS = ("supported", "refuted", "inconclusive", "void")


def norm_advice(source: Source) -> list[str]:
    """Which norm to use at which batch size in the main experiment."""
    if source.main is None:
        return [_no_results(source)]
    series, setting = source.main
    found = advice(source, series, setting)
    norms = source.rows("final", series, setting)["norm"].unique()
    if len(norms) < 2:
        return [f"Only {norm_name(str(norms[0]))} has results in {series.title}, so no norms are "
                "compared."]  # fmt: skip
    if not found:
        return [f"No two norms have results at the same batch size in {series.title}."]
    return sentences(found, series.metric)


def _no_results(source: Source) -> str:
    """Why there are no results: none yet, or none that there can be."""
    reasons = list(why_none(source))
    if not reasons:
        return "No experiment has results yet."
    more = f"; and {len(reasons) - _OPEN} more" if len(reasons) > _OPEN else ""
    return f"No run has a result: {'; '.join(reasons[:_OPEN])}{more}."


def breaking_point(source: Source) -> str:
    """Where batch norm breaks in the main experiment, in a sentence."""
    if source.main is None:
        return ""
    series, setting = source.main
    final = source.rows("final", series, setting)
    here = [str(n) for n in dict.fromkeys(final["norm"]) if source.uses_batch_statistics(str(n))]
    if not here:
        return "Batch norm has no results here, so where it breaks is not shown."
    if final["batch_size"].nunique() < 2:
        return "Only one batch size has results here, so where batch norm breaks is not shown."
    rows = source.rows("crossover", series, setting)
    rows = rows[rows["norm"].map(source.uses_batch_statistics)]
    if rows.empty:
        return (
            f"{words.capital(norm_name(here[0]))} is the reference itself, so it has no crossover."
        )
    row = _plainest(rows).to_dict("records")[0]
    if "few-seeds" in row["caveats"]:
        return ""  # the advice says so
    return words.capital(crossover_sentence(source, row))


def _plainest(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows with batch norm itself in front of its variants; their order otherwise."""
    return rows.sort_values("norm", key=lambda norm: norm != "batch", kind="stable")


def _degradation(source: Source, series: Experiment, setting: str) -> list[str]:
    rows = source.rows("degradation", series, setting)
    rows = rows[rows["norm"].map(source.uses_batch_statistics).astype(bool)]
    return [
        words.capital(degradation_sentence(row, series.metric))
        for row in _plainest(rows).head(1).to_dict("records")
        if "few-seeds" not in row["caveats"]
    ]


def open_questions(source: Source) -> str:
    """What is undecided."""
    claims = source.analysis["claims"]
    unsettled = claims[claims["verdict"] == "inconclusive"]
    if not unsettled.empty:
        return _undecided(unsettled)
    if not claims.empty and (claims["verdict"] != "void").all():
        pairs = _open_pairs(source)
        return "No claim is left undecided" + (f"; {pairs[0].lower()}{pairs[1:]}" if pairs else ".")
    return _open_pairs(source)


def _undecided(unsettled: pd.DataFrame) -> str:
    """The undecided claims, the first of them by name."""
    parts = [
        f"{row['hypothesis']} ({row['refusal']})" if row["refusal"] else str(row["hypothesis"])
        for row in unsettled.head(_OPEN).to_dict("records")
    ]
    more = len(unsettled) - len(parts)
    listed = "; ".join(parts) + (f"; and {words.plural(more, 'further claim')}" if more else "")
    return f"Undecided: {listed}."


def _open_pairs(source: Source) -> str:
    """Without claims: whether the best norm is told apart from the next everywhere."""
    if source.main is None:
        return ""
    found = [a for a in advice(source, *source.main) if a.tied and not a.refusal]
    return "It is open which of the norms that are named together is better." if found else ""


def verdict_counts(claims: pd.DataFrame) -> str:
    """How many claims have each verdict."""
    counts = claims["verdict"].value_counts()
    parts = [f"{counts[v]} {v}" for v in _VERDICTS if counts.get(v, 0)]
    return words.listed(parts)


def lines(source: Source) -> list[str]:
    """What matters, for the terminal: the overviews in words, the claims, completeness."""
    from normbench.report.sections.completeness import sentence

    claims = source.analysis["claims"]
    said = (
        f"Claims: {verdict_counts(claims)}." if not claims.empty
        else open_questions(source) or "The protocol declares no claims."
    )  # fmt: skip
    shown = [o for o in overviews(source) if isinstance(o, Overview) and o.compares]
    told = [f"{one.title}: {one.sentence}" if len(shown) > 1 else one.sentence for one in shown]
    if len(told) > _TOLD:
        rest = len(told) - _TOLD + 1
        told = [*told[: _TOLD - 1], f"And {rest} more experiments: see the page."]
    found = [*(told or [" ".join(norm_advice(source))]), said, sentence(source)]
    return [line for line in found if line]


def _incomplete(source: Source) -> str:
    found = totals(source)
    rest = found["missing"] + found["failed"]
    if not rest:
        return ""
    return (
        f"These results are not complete: {rest:,} of {words.plural(found['planned'], 'run')} "
        "failed or are missing, so all of this may change."
    )


def section(source: Source) -> Section:
    """One paragraph in words, and the claims with their verdicts."""
    shown, further, said = overviews(source), [], []
    if not any(isinstance(one, Overview) and one.compares for one in shown):
        said = norm_advice(source)
    if source.main is not None:
        series, setting = source.main
        where = f"{series.title}{source.within(setting)}: " if len(shown) > 1 else ""
        further = [breaking_point(source), *_degradation(source, series, setting)]
        further[0] = where + further[0] if further[0] else ""
    lead = " ".join(filter(None, [*said, _incomplete(source)]))
    blocks: list[Block] = [Text([lead], lead=True)] if lead else []
    blocks += shown
    claims = source.analysis["claims"]
    if claims.empty:
        blocks.append(
            Text(
                [
                    "The protocol declares no claims, so there are no verdicts: what stands above "
                    "comes from comparing all pairs of norms as one family."
                ]
            )
        )
    else:
        fit = "declared before the first run" if not claims["exploratory"].any() else (
            "those marked exploratory are not as registered beforehand: see Methods")  # fmt: skip
        caption = f"Claims and what the data say: {verdict_counts(claims)} ({fit})"
        blocks.append(claims_table(source, claims, "answer-claims", caption))
        blocks.append(in_words(source, claims))
    rest = " ".join(filter(None, [*further, open_questions(source)]))
    if rest:
        blocks.append(Text([rest]))
    table = advice_table(source)
    if table is not None:
        blocks.append(table)
    blocks.append(
        Text(
            [
                "Every difference is within a seed, conditional on the learning rates that were "
                "set or chosen and on the validation set; the inference is to new seeds on the "
                "same task, not to new tasks."
            ]
        )
    )
    return Section("answer", "Answer", blocks)
