"""Decisions: learning rates from tuning runs, thresholds where the planned runs are complete."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from normbench.errors import WorkError
from normbench.protocol.study import Study
from normbench.results.decisions import add_decisions, add_rate, read_record
from normbench.results.looked import record_look
from normbench.results.schema import DONE

if TYPE_CHECKING:
    from normbench.analysis.tables import Analysis
    from normbench.results.load import Results


def decide_rates(study: Study, folder: Path, anew: Collection[str] = ()) -> bool:
    """Choose the learning rate of every cell whose tuning runs are complete.

    A rate that was chosen before stays, but for the cells with these keys, whose tuning runs were
    all computed anew. Where the best rate is at an edge of a grid that may be widened, the grid
    gets one more. Returns whether anything is new.
    """
    if not any(series.tune is not None for series in study.experiments):
        return False
    from normbench.analysis.tuning import choose_rates, tuning_table, wider_grids
    from normbench.results.load import Results

    table = tuning_table(Results(folder))
    wider = wider_grids(table)
    for key, rate in wider.items():
        add_rate(folder, key, rate)
    known = read_record(folder)["rates"]
    chosen = choose_rates(table)

    def stands(key: str, choice: dict[str, Any]) -> bool:
        same = key in known and known[key]["learning_rate"] == choice["learning_rate"]
        return same or (key in known and key not in anew)

    new = {key: choice for key, choice in chosen.items() if not stands(key, choice)}
    if new:
        add_decisions(folder, "rates", new, anew)
    return bool(new or wider)


def pool(results: Results, *, freeze: bool = False) -> Results:
    """The results with the pooled thresholds that claims ask for.

    A threshold is computed from all runs of an experiment without regard to their configuration.
    It is stored, and never computed again, once the planned runs of the experiment are complete,
    or with ``freeze``; until then each look computes a provisional one and stores nothing.
    """
    from normbench.analysis.pooled import pooled_thresholds
    from normbench.results.load import Results

    if not any(claim.endpoint.threshold == "pooled" for claim in results.study.claims):
        return results
    known = read_record(results.folder)["thresholds"]
    new = pooled_thresholds(results, set(known))
    final = {key: one for key, one in new.items() if freeze or one["runs"] == one["planned"]}
    if final:
        try:
            add_decisions(results.folder, "thresholds", final)
        except WorkError:
            if freeze:
                raise
            final = {}  # a folder that may not be written can still be read
    rest = {key: one for key, one in new.items() if key not in final}
    return Results(results.folder, provisional=rest)


def note_look(results: Results, command: str) -> None:
    """Note that results are shown now: what is changed later was changed after a look."""
    done = results.all_runs["status"].isin(DONE)
    record_look(results.folder, command, int(done.sum()), len(results.runs))


def analyse(results: Results | str | Path, *, freeze: bool = False) -> Analysis:
    """All tables of a study; notes that its results were looked at.

    ``results`` is what ``normbench.load`` gives, or a folder. ``freeze`` stores pooled thresholds
    although planned runs are missing.
    """
    from normbench.report.told import analyse as compute
    from normbench.results.load import Results, load

    found = pool(results if isinstance(results, Results) else load(results), freeze=freeze)
    analysis = compute(found)
    note_look(found, "analyse")
    return analysis
