"""Claims against the results: per-seed benefits, families, verdicts and the sentences for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from normbench.analysis.cells import regression_experiments
from normbench.analysis.claim_values import CellValues, Reader
from normbench.analysis.curves import Curves, Floats, curves_of
from normbench.analysis.phrases import claim_sentence
from normbench.protocol.claims import Hypothesis, ResolvedClaim
from normbench.protocol.study import Series
from normbench.results.load import Results
from normbench.stats.planning import minimum_detectable_effect, seeds_needed
from normbench.stats.refusals import complete_blocks
from normbench.stats.rounding import difference, log_ratio
from normbench.stats.smallbatch import contrast_of
from normbench.stats.verdict import Claim, Verdict, judge_family

COLUMNS = [
    "claim", "hypothesis", "family", "method", "kind", "experiment", "a", "b", "batch_sizes",
    "endpoint", "metric", "task", "goal", "times", "threshold", "margin", "verdict", "fragile",
    "exploratory", "expect", "as_expected", "chapter", "text", "sentence", "reason", "estimate",
    "low", "high",
    "level", "simultaneous_low", "simultaneous_high", "p", "adjusted_p", "n", "diverged_a",
    "diverged_b", "clipped", "minimum_detectable", "seeds_to_decide", "tuned", "refusal",
    "warnings", "assumptions", "estimand",
]  # fmt: skip


@dataclass
class _Ready:
    """A hypothesis with the endpoint values of its cells."""

    claim: ResolvedClaim
    hypothesis: Hypothesis
    series: Series
    a: list[CellValues]
    b: list[CellValues]
    threshold: float | None
    void: str = ""
    task: str = "classification"

    @property
    def cells(self) -> list[CellValues]:
        return [*self.a, *self.b]


def _prepare(claim: ResolvedClaim, results: Results, reader: Reader) -> list[_Ready]:
    series = results.study.experiment(claim.experiment)
    regressions = regression_experiments(results.runs)
    ready = []
    for hypothesis in claim.hypotheses:
        a = [reader.cell(claim, series, i, claim.a_evaluation) for i in hypothesis.a]
        b = [reader.cell(claim, series, i, claim.b_evaluation) for i in hypothesis.b]
        one = _Ready(claim, hypothesis, series, a, b, reader.threshold(claim))
        if series.name in regressions:
            one.task = "regression"
        one.void = next((c.undefined for c in one.cells if c.undefined), "")
        if not one.void and claim.endpoint.kind == "time" and one.threshold is None:
            one.void = "the pooled threshold is not computed yet"
        if not one.void and not any(c.values for c in one.cells):
            one.void = "not run yet"
        ready.append(one)
    return ready


def _confounded(one: _Ready, seeds: Sequence[int]) -> str:
    """Why runs of a seed cannot be paired, if they come from different environments."""
    for seed in seeds:
        if len({cell.environment.get(seed) for cell in one.cells}) > 1:
            return (
                f"confounded with machine: the runs of seed {seed} were not all made on one "
                "machine with one set of versions; compute one of them again"
            )
    return ""


def _benefit(one: _Ready, seeds: Sequence[int]) -> Floats:
    """Per seed, how much better a is than b: shape (n,), or (n, K) for an equivalence."""
    a = np.array([[cell.values[s] for cell in one.a] for s in seeds], dtype=np.float64)
    b = np.array([[cell.values[s] for cell in one.b] for s in seeds], dtype=np.float64)
    end, sizes = one.claim.endpoint, one.hypothesis.batch_sizes
    ratio = end.kind == "time" and end.estimand == "geometric-ratio"
    smaller = end.kind in ("time", "diverged") or end.better == "min"
    more, less = (b, a) if smaller else (a, b)
    if one.claim.kind == "interaction":
        # how much more b loses than a from the largest to the smallest batch, by a fit in 1/b
        span = 1.0 / min(sizes) - 1.0 / max(sizes)
        terms = (np.log(more), -np.log(less)) if ratio else (more, -less)
        return contrast_of(terms, list(sizes)) * span
    d: Floats = log_ratio(more, less) if ratio else difference(more, less)
    return d if one.claim.kind == "equivalence" else d[:, 0]


@dataclass
class _Block:
    """The seeds that a family uses, and what had to be left out."""

    seeds: list[int]
    notes: list[str]
    refusal: str = ""
    dropped: frozenset[str] = frozenset()


def _block(members: Sequence[_Ready]) -> _Block:
    planned = members[0].series.seeds
    cells = {id(c): c for one in members for c in one.cells}
    table = [[0.0 if s in c.values else np.nan for c in cells.values()] for s in planned]
    names = [c.label for c in cells.values()]
    blocks = complete_blocks(np.array(table), names, list(planned))
    seeds = [s for s, kept in zip(planned, blocks.seeds, strict=True) if kept]
    dropped = frozenset(n for n, kept in zip(names, blocks.kept, strict=True) if not kept)
    return _Block(seeds, list(blocks.notes), blocks.refusal or "", dropped)


def _blocks(members: list[_Ready]) -> tuple[list[_Block], bool]:
    """A block for each member: one for all if they plan the same seeds, else one each."""
    joint = len({one.series.seeds for one in members}) == 1
    if joint:
        return [_block(members)] * len(members), True
    return [_block([one]) for one in members], False


def _judge(
    members: list[_Ready], method: str, alpha: float
) -> list[tuple[_Ready, Verdict | None, _Block, str, str]]:
    """Verdicts of one family; None with a reason where a member cannot be judged."""
    reasons = {id(one): one.void for one in members}
    live = [one for one in members if not one.void]
    blocks: dict[int, _Block] = {}
    if live:
        found, joint = _blocks(live)
        method = method if joint else "holm"
        blocks = {id(one): block for one, block in zip(live, found, strict=True)}
    for one in live:
        block = blocks[id(one)]
        missing = [c.label for c in one.cells if c.label in block.dropped]
        reasons[id(one)] = (
            f"missing cell: {', '.join(missing)}" if missing
            else block.refusal or _confounded(one, block.seeds)
        )  # fmt: skip
    judged = [one for one in live if not reasons[id(one)]]
    verdicts: dict[int, Verdict] = {}
    if judged:
        claims = []
        for one in judged:
            seeds = blocks[id(one)].seeds
            lost = sum(int(c.diverged[s]) for c in one.cells for s in seeds)
            claims.append(
                Claim(
                    one.hypothesis.name, one.claim.kind, _benefit(one, seeds), one.claim.margin,
                    diverged=lost, divergence=one.claim.endpoint.kind == "diverged",
                )
            )  # fmt: skip
        correction: Any = method
        found_verdicts = judge_family(claims, method=correction, alpha=alpha)
        verdicts = {id(one): v for one, v in zip(judged, found_verdicts, strict=True)}
    empty = _Block([], [])
    return [
        (one, verdicts.get(id(one)), blocks.get(id(one), empty), reasons[id(one)], method)
        for one in members
    ]


def _pair(value: Any) -> tuple[float, float]:
    if isinstance(value, tuple) and len(value) == 2:
        return float(value[0]), float(value[1])
    return (np.nan, np.nan)


def _seeds_to_decide(one: _Ready, verdict: Verdict, alpha: float, m: int) -> float:
    """Seeds for 80 % power at the effect and spread seen, where the verdict is open."""
    result = verdict.result
    sd = result.details.get("sd")
    if verdict.outcome != "inconclusive" or not isinstance(sd, float) or not sd > 0:
        return np.nan
    bound = -one.claim.margin if one.claim.kind == "noninferiority" else one.claim.margin
    distance = abs(result.estimate - bound)
    if one.claim.kind == "equivalence":
        distance = one.claim.margin - abs(result.estimate)
    if not distance > 1e-9 * sd:
        return np.nan
    needed = seeds_needed(sd, distance, alpha=alpha, claims=m).estimate
    return float(needed) if needed < 1e6 else np.nan


def _minimum_detectable(verdict: Verdict, alpha: float, m: int) -> float:
    """The difference that this many seeds find with 80 % power, at the spread seen."""
    result = verdict.result
    sd = result.details.get("sd")
    if not isinstance(sd, float) or not sd > 0 or result.n < 3:
        return np.nan
    return minimum_detectable_effect(result.n, sd, alpha=alpha, claims=m).estimate


def _at_chance(one: _Ready, block: _Block) -> list[str]:
    """A warning where an equivalence holds because nothing was learned anywhere.

    Cells whose means all lie within the margin of the failure score are equal, and say nothing.
    """
    claim, chance = one.claim, one.claim.endpoint.failure_score
    if claim.kind != "equivalence" or chance is None or not block.seeds:
        return []
    means = [np.mean([cell.values[seed] for seed in block.seeds]) for cell in one.cells]
    if max(abs(mean - chance) for mean in means) > claim.margin:
        return []
    return [
        "every cell lies within the margin of the failure score: equal, but nothing was learned"
    ]


def _row(
    one: _Ready, verdict: Verdict | None, block: _Block, reason: str, method: str,
    alpha: float, m: int,
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
        "tuned": "tuned per cell" if one.series.tune else "same learning rate for all",
        "warnings": "; ".join(block.notes),
        "seeds_to_decide": np.nan,
        "minimum_detectable": np.nan,
    }
    if verdict is not None:
        result = verdict.result
        low, high = _pair(result.interval)
        wide_low, wide_high = _pair(result.details.get("simultaneous_interval"))
        row |= {
            "verdict": verdict.outcome,
            "fragile": verdict.fragile,
            "reason": verdict.reason,
            "refusal": result.refusal or "",
            "estimate": result.estimate,
            "low": low,
            "high": high,
            "level": np.nan if result.level is None else result.level,
            "simultaneous_low": wide_low,
            "simultaneous_high": wide_high,
            "p": np.nan if result.p is None else result.p,
            "adjusted_p": np.nan if verdict.adjusted_p is None else verdict.adjusted_p,
            "warnings": "; ".join([*result.warnings, *_at_chance(one, block), *block.notes]),
            "assumptions": "; ".join(result.assumptions),
            "estimand": result.estimand,
            "seeds_to_decide": _seeds_to_decide(one, verdict, alpha, m),
            "minimum_detectable": _minimum_detectable(verdict, alpha, m),
        }
    row["as_expected"] = "" if not claim.expect else str(row["verdict"] == claim.expect).lower()
    row["sentence"] = claim_sentence(
        row, one.hypothesis.batch_sizes,
        one.series.cells[one.hypothesis.b[0]].batch_size if claim.b_label == "itself" else None,
    )  # fmt: skip
    return row


def claim_table(results: Results, curves: Curves | None = None) -> pd.DataFrame:
    """A row per tested hypothesis of every claim, with its verdict and all that it rests on.

    The results must hold the frozen thresholds already where claims ask for pooled ones.
    """
    study = results.study
    if not study.claims:
        return pd.DataFrame(columns=COLUMNS)
    reader = Reader(results, curves_of(results) if curves is None else curves)
    by_family: dict[str, list[_Ready]] = {family.id: [] for family in study.families}
    for claim in study.claims:
        by_family[claim.family] += _prepare(claim, results, reader)
    exploratory = results.exploratory_claims
    rows = []
    for family in study.families:
        members = by_family[family.id]
        for one, verdict, block, reason, method in _judge(members, family.method, study.alpha):
            row = _row(one, verdict, block, reason, method, study.alpha, len(members))
            row["exploratory"] = one.claim.id in exploratory or bool(block.dropped)
            rows.append(row)
    order = {claim.id: i for i, claim in enumerate(study.claims)}
    rows.sort(key=lambda row: order[row["claim"]])
    return pd.DataFrame(rows, columns=COLUMNS)
