"""Pairs of norms about which a claim was declared: there the claim has the word."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pandas as pd

from normbench.analysis.cells import Grid
from normbench.analysis.findings import UNDECIDED
from normbench.plan.decisions import decided
from normbench.plan.spec import cell_hash
from normbench.protocol.resolved import Hypothesis, ResolvedClaim
from normbench.results.load import Results

Place = tuple[str, str, int, str, str]
_FINDING = {"supported": "better", "refuted": "worse", "inconclusive": UNDECIDED}
_OTHER = {"better": "worse", "worse": "better", UNDECIDED: UNDECIDED}


def with_claims(
    pairs: pd.DataFrame, claims: pd.DataFrame, results: Results, panels: Sequence[Grid]
) -> pd.DataFrame:
    """The table ``pairs`` with the column ``claim``: which one the ``finding`` is of, if any.

    A claim speaks of a pair if it compares the final error of both norms at that batch size,
    without a margin and as the experiment reads it, and was declared beforehand.
    """
    found = pairs.assign(claim="")
    judged = claims.set_index("hypothesis").to_dict("index") if len(claims) else {}
    rows = {
        (r["experiment"], r["setting"], r["batch_size"], r["norm"], r["other"]): at
        for at, r in zip(found.index, found.to_dict("records"), strict=True)
    }
    for name, (a, b) in _places(results, panels):
        row = judged.get(name)
        finding = None if row is None or row["exploratory"] else _FINDING.get(row["verdict"])
        experiment, setting, size, norm = a
        for key, said in (
            ((experiment, setting, size, norm, b[3]), finding),
            ((experiment, setting, size, b[3], norm), _OTHER.get(finding or "")),
        ):
            at = rows.get(key)
            if said is None or at is None:
                continue
            first = not found.loc[at, "claim"]  # of several claims the first that is decided
            if first or (found.loc[at, "finding"] == UNDECIDED and said != UNDECIDED):
                found.loc[at, ["finding", "claim"]] = [said, name]
    return found


Cell = tuple[str, str, int, str]


def _places(results: Results, panels: Sequence[Grid]) -> Iterator[tuple[str, tuple[Cell, Cell]]]:
    """Every hypothesis about a pair, with the experiment, setting, size and norm of both sides."""
    where = {
        (panel.series.name, cell.cell_hash): (
            panel.series.name, panel.setting.text, cell.batch_size, cell.norm
        )
        for panel in panels
        for cell in panel.cells.values()
    }  # fmt: skip
    for claim in results.study.claims:
        series = results.study.experiment(claim.experiment)
        if not _plain(claim, series.metric, series.window):
            continue
        for hypothesis in claim.hypotheses:
            both = [where.get(key) for key in _keys(results, claim, hypothesis)]
            a, b = both[0], both[-1]
            if a is not None and b is not None and a[:3] == b[:3] and a[3] != b[3]:
                yield hypothesis.name, (a, b)


def _plain(claim: ResolvedClaim, metric: str, window: int) -> bool:
    """Whether a claim reads what the table of pairs does."""
    end = claim.endpoint
    return (
        claim.kind == "superiority" and claim.margin == 0
        and {claim.a_evaluation, claim.b_evaluation} == {"running"}
        and end.kind == "final" and end.window == window
        and end.metric == {"accuracy": "val_error", "loss": "val_loss"}.get(metric)
    )  # fmt: skip


def _keys(
    results: Results, claim: ResolvedClaim, hypothesis: Hypothesis
) -> Iterator[tuple[str, str]]:
    series = results.study.experiment(claim.experiment)
    for index in (hypothesis.a[0], hypothesis.b[0]):
        cell = decided(series.cells[index], series, results.decisions, results.code)
        yield claim.experiment, cell_hash(cell, results.code)
