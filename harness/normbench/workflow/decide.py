"""Decisions: learning rates from tuning runs, thresholds at the first look."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from normbench.protocol.study import Study
from normbench.results.decisions import add_decisions, read_record

if TYPE_CHECKING:
    from normbench.analysis.tables import Analysis
    from normbench.results.load import Results


def decide_rates(study: Study, folder: Path, anew: Collection[str] = ()) -> bool:
    """Choose the learning rate of every cell whose tuning runs are complete.

    A rate that was chosen before stays, but for the cells with these keys, whose tuning runs were
    all computed anew. Returns whether any rate is new.
    """
    if not any(series.tune is not None for series in study.experiments):
        return False
    from normbench.analysis.tuning import choose_rates
    from normbench.results.load import Results

    known = read_record(folder)["rates"]
    chosen = choose_rates(Results(folder))

    def stands(key: str, choice: dict[str, Any]) -> bool:
        same = key in known and known[key]["learning_rate"] == choice["learning_rate"]
        return same or (key in known and key not in anew)

    new = {key: choice for key, choice in chosen.items() if not stands(key, choice)}
    if new:
        add_decisions(folder, "rates", new, anew)
    return bool(new)


def freeze_thresholds(results: Results) -> None:
    """At the first look, compute the pooled thresholds that claims ask for, and store them.

    They are computed from all runs of an experiment without regard to their configuration, and
    never again: later looks use the stored values.
    """
    from normbench.analysis.pooled import pooled_thresholds

    known = read_record(results.folder)["thresholds"]
    new = pooled_thresholds(results, set(known))
    if new:
        add_decisions(results.folder, "thresholds", new)


def analyse(results: Results | str | Path) -> Analysis:
    """Freeze what is to be frozen at the first look, and compute all tables.

    ``results`` is what ``normbench.load`` gives, or a folder.
    """
    from normbench.analysis.tables import analyse as compute
    from normbench.results.load import Results, load

    found = results if isinstance(results, Results) else load(results)
    if any(claim.endpoint.threshold == "pooled" for claim in found.study.claims):
        freeze_thresholds(found)
        found = Results(found.folder)
    return compute(found)
