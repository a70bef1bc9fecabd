"""Claims against the results: per-seed benefits, families and verdicts."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from normbench.analysis import reasons
from normbench.analysis.boundary import Boundary
from normbench.analysis.cells import regression_experiments
from normbench.analysis.claim_families import Ready, judge_hypotheses
from normbench.analysis.claim_values import CellValues, Reader
from normbench.analysis.curves import Curves, curves_of
from normbench.analysis.pairing import SeedBlock
from normbench.analysis.pooled import threshold_key
from normbench.analysis.rows import caveat_columns, verdict_row
from normbench.protocol.resolved import ResolvedClaim
from normbench.protocol.study import Experiment
from normbench.results.load import Results
from normbench.stats.planning import minimum_detectable_effect
from normbench.stats.result import Caveat
from normbench.stats.verdict import Verdict

COLUMNS = [
    "claim", "hypothesis", "family", "method", "kind", "experiment", "a", "b", "batch_sizes",
    "endpoint", "metric", "task", "goal", "times", "threshold", "margin", "verdict", "fragile",
    "exploratory", "deviation", "expect", "as_expected", "chapter", "text", "reason",
    "estimate", "low", "high",
    "level", "simultaneous_low", "simultaneous_high", "p", "adjusted_p", "n", "diverged_a",
    "diverged_b", "clipped", "minimum_detectable", "tuned", "refusal",
    "warnings", "caveats", "assumptions", "estimand",
]  # fmt: skip


def _prepare(
    claim: ResolvedClaim, results: Results, reader: Reader, boundary: Boundary
) -> list[Ready]:
    series = results.study.experiment(claim.experiment)
    regressions = regression_experiments(results.runs)
    ready = []
    for hypothesis in claim.hypotheses:
        sides = ((hypothesis.a, claim.a_evaluation), (hypothesis.b, claim.b_evaluation))
        a, b = (
            [
                boundary.attempt(
                    f"claim {claim.id}",
                    partial(reader.cell, claim, series, i, evaluation),
                    partial(CellValues.unreadable, series, i),
                )
                for i in cells
            ]
            for cells, evaluation in sides
        )
        one = Ready(claim, hypothesis, series, a, b, reader.threshold(claim))
        if series.name in regressions:
            one.task = "regression"
        one.void = next((c.undefined for c in one.cells if c.undefined), "")
        if not one.void and claim.endpoint.kind == "time" and one.threshold is None:
            one.void = reasons.NO_THRESHOLD
        if not one.void and not any(c.values for c in one.cells):
            one.void = reasons.NOT_RUN
        ready.append(one)
    return ready


def _minimum_detectable(verdict: Verdict, alpha: float, m: int) -> float:
    """The difference that this many seeds find with 80 % power, at the spread seen."""
    result = verdict.result
    sd = result.details.get("sd")
    if not isinstance(sd, float) or not sd > 0 or result.n < 3:
        return np.nan
    return minimum_detectable_effect(result.n, sd, alpha=alpha, claims=m).estimate


def _tuned(series: Experiment) -> str:
    if series.tune is None:
        return "same learning rate for all"
    if series.tune.on is not None:
        return f"tuned on {series.tune.on.label}"
    return "tuned per cell"


def _at_chance(one: Ready, block: SeedBlock) -> list[Caveat]:
    """A warning where an equivalence holds because nothing was learned anywhere.

    Cells whose means all lie within the margin of the failure score are equal, and say nothing.
    """
    claim, chance = one.claim, one.claim.endpoint.failure_score
    if claim.kind != "equivalence" or chance is None or not block.seeds:
        return []
    means = [np.mean([cell.values[seed] for seed in block.seeds]) for cell in one.cells]
    if max(abs(mean - chance) for mean in means) > claim.margin:
        return []
    return [reasons.at_chance()]


def _provisional(one: Ready, results: Results) -> list[Caveat]:
    """A warning where the threshold is not frozen yet."""
    level = results.provisional.get(threshold_key(one.claim))
    if level is None or one.claim.endpoint.threshold != "pooled":
        return []
    return [reasons.provisional(level["runs"], level["planned"])]


def _row(
    one: Ready, verdict: Verdict | None, block: SeedBlock, notes: Sequence[Caveat], reason: str,
    method: str, alpha: float, m: int,
) -> dict[str, Any]:  # fmt: skip
    claim, end = one.claim, one.claim.endpoint
    counts = {
        key: sum(int(c.diverged.get(s, False)) for c in cells for s in block.seeds)
        for key, cells in (("diverged_a", one.a), ("diverged_b", one.b))
    }
    row: dict[str, Any] = {
        "claim": claim.id,
        "hypothesis": one.hypothesis.name,
        "family": claim.family,
        "method": method,
        "kind": claim.kind,
        "experiment": claim.experiment,
        "a": claim.a_label,
        "b": claim.b_label,
        "batch_sizes": ",".join(str(s) for s in one.hypothesis.batch_sizes),
        "endpoint": end.kind,
        "metric": end.metric,
        "task": one.task,
        "goal": end.better,
        "times": end.estimand if end.kind == "time" else "",
        "threshold": np.nan if one.threshold is None else one.threshold,
        "margin": claim.margin,
        "verdict": "void" if one.void else "inconclusive",
        "fragile": False,
        "expect": claim.expect or "",
        "chapter": claim.chapter,
        "text": claim.text,
        "reason": reason,
        "refusal": reason,
        "n": len(block.seeds),
        **counts,
        "clipped": sum(int(c.clipped.get(s, False)) for c in one.cells for s in block.seeds),
        "tuned": _tuned(one.series),
        **caveat_columns(notes),
        "minimum_detectable": np.nan,
    }
    if verdict is not None:
        row |= verdict_row(verdict, [*_at_chance(one, block), *notes]) | {
            "verdict": verdict.outcome,
            "reason": verdict.reason,
            "minimum_detectable": _minimum_detectable(verdict, alpha, m),
        }
    row["as_expected"] = "" if not claim.expect else str(row["verdict"] == claim.expect).lower()
    return row


def claim_table(
    results: Results, curves: Curves | None = None, boundary: Boundary | None = None
) -> pd.DataFrame:
    """A row per tested hypothesis of every claim, with its verdict and all that it rests on.

    The results must hold the frozen thresholds already where claims ask for pooled ones. A claim
    that cannot be judged is void, with its reason; ``boundary`` knows those that are bugs.
    """
    boundary = boundary or Boundary()
    study = results.study
    if not study.claims:
        return pd.DataFrame(columns=COLUMNS)
    reader = Reader(results, curves_of(results) if curves is None else curves)
    by_family: dict[str, list[Ready]] = {family.id: [] for family in study.families}
    for claim in study.claims:
        by_family[claim.family] += _prepare(claim, results, reader, boundary)
    changed = results.deviations.claims
    rows = []
    for family in study.families:
        members = by_family[family.id]
        for one, verdict, block, reason, method in judge_hypotheses(
            members, family.method, study.alpha, boundary
        ):
            notes = [*block.notes, *_provisional(one, results)]
            row = _row(one, verdict, block, notes, reason, method, study.alpha, len(members))
            why = [changed.get(one.claim.id, ""), reasons.CELL_MISSING if block.dropped else ""]
            row["deviation"] = "; ".join(filter(None, why))
            row["exploratory"] = bool(row["deviation"])
            rows.append(row)
    order = {claim.id: i for i, claim in enumerate(study.claims)}
    rows.sort(key=lambda row: order[row["claim"]])
    return pd.DataFrame(rows, columns=COLUMNS)
