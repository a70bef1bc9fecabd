"""What is found without a claim: under the error rate that an experiment has for all of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from normbench.analysis import reasons
from normbench.analysis.cells import Grid
from normbench.analysis.rows import verdict_row
from normbench.protocol.study import Study
from normbench.stats.automatic import LEAST_SEEDS, Budget
from normbench.stats.result import Caveat, Result
from normbench.stats.verdict import Verdict

UNDECIDED = "undecided"


def budget_of(panels: Sequence[Grid], alpha: float) -> dict[str, Budget]:
    """By experiment the shares of its error rate, in each of its settings."""
    settings = Counter(panel.series.name for panel in panels)
    return {name: Budget.of(alpha, count) for name, count in settings.items()}


def finding_row(
    verdict: Verdict, alone: Result, notes: Iterable[Caveat], words: tuple[str, str]
) -> dict[str, Any]:
    """A comparison and its ``finding``: the first word above 0, the second below, or undecided."""
    few = few_seeds(verdict.result.n)
    outcomes = {} if few else dict(zip(("supported", "refuted"), words, strict=True))
    refused = verdict.result.refusal and not few
    row = verdict_row(verdict, [*notes, *few], None if refused else alone)
    return row | {"finding": outcomes.get(verdict.outcome, UNDECIDED)}


def few_seeds(n: int) -> list[Caveat]:
    """A warning where there are too few seeds for any finding."""
    return [] if n >= LEAST_SEEDS else [reasons.few_seeds(n, LEAST_SEEDS)]


def declared_margins(*studies: Study) -> Mapping[tuple[str, str], float]:
    """The least margin that an equivalence claim on the final error declares.

    By experiment and metric (``accuracy`` or ``loss``) of the validation set.
    """
    found: dict[tuple[str, str], float] = {}
    for claim in (claim for study in studies for claim in study.claims):
        metric = {"val_error": "accuracy", "val_loss": "loss"}.get(claim.endpoint.metric)
        if claim.kind == "equivalence" and claim.endpoint.kind == "final" and metric:
            key = (claim.experiment, metric)
            found[key] = min(claim.margin, found.get(key, claim.margin))
    return found
