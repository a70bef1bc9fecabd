"""From claims to verdicts: supported, refuted or inconclusive, never "no effect".

A claim says that a benefit lies in a region H. It is supported if the data rule out
everything outside H, refuted if they rule out H, and inconclusive otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from normbench.stats.checks import FloatArray, check_alpha, fault, matrix, reaches, vector
from normbench.stats.compare import mark_fragile, paired_difference
from normbench.stats.divergence import discordant_share
from normbench.stats.equivalence import equivalence
from normbench.stats.guard import asymmetry_guard
from normbench.stats.interval import subset_mean_interval
from normbench.stats.multiplicity import Band, holm, max_t, simultaneous_band
from normbench.stats.refusals import Correction, cannot_reach, count_nonzero
from normbench.stats.result import Interval, Result, number, p_text
from normbench.stats.rounding import difference

Kind = Literal["superiority", "noninferiority", "equivalence", "interaction"]
Outcome = Literal["supported", "refuted", "inconclusive"]

_ALONE = "this comparison alone"


@dataclass(frozen=True)
class ClaimData:
    """One claim and its data.

    Attributes:
        name: what the claim is called.
        kind: decides the region of the benefit: superiority and interaction (margin, ∞),
            noninferiority (−margin, ∞), equivalence (−margin, margin).
        d: benefit per seed, shape (n,), positive where the claim's side is better; for an
            equivalence over K sizes shape (n, K).
        margin: in the unit of ``d``; above 0 for noninferiority and equivalence.
        diverged: number of diverged runs behind ``d``.
        divergence: True if ``d`` are differences of 0/1 divergence (B's minus A's).
        estimand: sentence for the result; the procedure's own if left out.
        seed_correlation: correlation of the two sides over seeds, if known.
    """

    name: str
    kind: Kind
    d: FloatArray = field(hash=False, compare=False)
    margin: float = 0.0
    diverged: int = 0
    divergence: bool = False
    estimand: str | None = None
    seed_correlation: float | None = None

    @property
    def bound(self) -> float:
        """The end of the region of a one-sided claim."""
        return -self.margin if self.kind == "noninferiority" else self.margin


@dataclass(frozen=True)
class Verdict:
    """What the data say about one claim.

    Attributes:
        claim: the claim's name.
        outcome: supported, refuted or inconclusive.
        reason: one sentence.
        result: the comparison by itself, with ``adjusted_p`` and
            ``simultaneous_interval`` in its details.
        adjusted_p: p-value corrected for the family; None if refused.
        fragile: True if divergence with few seeds makes the mean unreliable.
    """

    claim: str
    outcome: Outcome
    reason: str
    result: Result
    adjusted_p: float | None
    fragile: bool

    def __str__(self) -> str:
        mark = " (fragile)" if self.fragile else ""
        return f"{self.claim}: {self.outcome}{mark}: {self.reason}\n{self.result}"


def judge(claim: ClaimData, *, alpha: float = 0.05) -> Verdict:
    """Return the verdict on a single claim, a family of one; see ``judge_family``."""
    return judge_family([claim], method="holm", alpha=alpha)[0]


def judge_family(
    claims: Sequence[ClaimData], *, method: Correction = "max-t", alpha: float = 0.05
) -> tuple[Verdict, ...]:
    """Return the verdicts on a family of claims, corrected jointly.

    One-sided regions: two-sided flip test of d − bound; if its adjusted p is at most alpha
    the claim is supported where the mean lies in the region and refuted where not.
    Equivalence: supported by the two one-sided tests, refuted by 2·K times the smallest p
    beyond a margin; Holm receives the smaller. Skewed differences (n ≥ 10) also need the
    bootstrap-t interval of level 1 − alpha/m to exclude the bound. The family-wise rate of
    wrong verdicts is at most alpha under the symmetry that the results state.

    Args:
        claims: the declared claims.
        method: ``"max-t"`` (same seeds for all, no equivalence, no divergence) or ``"holm"``.
        alpha: family-wise level.

    Raises:
        StatisticsError: no claims, a family that max-T cannot take, an impossible margin.
    """
    if not claims:
        raise fault("a family needs at least one claim", 0, "declare a claim")
    check_alpha(alpha)
    checked = [_checked(claim) for claim in claims]
    if method == "max-t":
        _check_max_t(checked)
    elif method != "holm":
        raise fault('method must be "max-t" or "holm"', repr(method), 'use "max-t"')
    results = [_alone(claim, alpha, len(checked), method) for claim in checked]
    pairs: list[Interval | None]
    if method == "max-t":
        shifted = np.column_stack([difference(claim.d, claim.bound) for claim in checked])
        adjusted = max_t(shifted)
        pairs = [None] * len(checked)
        if len(shifted) > 1:  # one seed has no spread, and nothing is tested
            pairs = _band_pairs(simultaneous_band(shifted, alpha), checked)
    else:
        adjusted = holm([_p_for_holm(result) for result in results])
        pairs = [_bonferroni(claim, alpha / len(checked)) for claim in checked]
    return tuple(
        _verdict(claim, result, float(p), pair, alpha, len(checked))
        for claim, result, p, pair in zip(checked, results, adjusted, pairs, strict=True)
    )


def verdict_from_interval(
    kind: Kind, margin: float, interval: Interval, refutation: Interval | None = None
) -> Outcome:
    """Return the verdict that an interval alone implies; touching a bound is inconclusive.

    Args:
        kind: kind of the claim.
        margin: its margin.
        interval: of level 1 − alpha; for an equivalence 1 − 2·alpha.
        refutation: for an equivalence the 1 − alpha interval; ``interval`` if left out.

    Raises:
        StatisticsError: unknown kind, or an impossible margin.
    """
    claim = _checked(ClaimData("interval", kind, np.zeros(1), margin))
    low, high = interval
    if kind == "equivalence":
        second = refutation or interval
        if -margin < low and high < margin:
            return "supported"
        return "refuted" if second[0] > margin or second[1] < -margin else "inconclusive"
    if low > claim.bound:
        return "supported"
    return "refuted" if high < claim.bound else "inconclusive"


def _checked(claim: ClaimData) -> ClaimData:
    if claim.kind not in ("superiority", "noninferiority", "equivalence", "interaction"):
        raise fault(
            "kind must be superiority, noninferiority, equivalence or interaction",
            repr(claim.kind),
            "use superiority",
        )
    needs = claim.kind in ("noninferiority", "equivalence")
    if not np.isfinite(claim.margin) or claim.margin < 0 or (needs and claim.margin == 0):
        raise fault(
            f"claim {claim.name}: {claim.kind} needs a margin " + ("above 0" if needs else "≥ 0"),
            claim.margin,
            "declare the margin in the unit of the metric",
        )
    if claim.divergence and (claim.kind != "superiority" or claim.margin != 0):
        raise fault(
            f"claim {claim.name}: divergence is compared by superiority without a margin",
            f"{claim.kind}, margin {claim.margin:g}",
            'use kind = "superiority" and margin = 0',
        )
    values = np.asarray(claim.d, dtype=np.float64)
    if claim.kind == "equivalence":
        table = values[:, None] if values.ndim == 1 else values
        return replace(claim, d=matrix(table, f"claim {claim.name}"))
    return replace(claim, d=vector(values, f"claim {claim.name}"))


def _check_max_t(claims: Sequence[ClaimData]) -> None:
    if any(claim.kind == "equivalence" or claim.divergence for claim in claims):
        raise fault(
            "a family with equivalence or divergence claims uses Holm",
            'method "max-t"',
            'declare method = "holm"',
        )
    if len({len(claim.d) for claim in claims}) > 1:
        raise fault(
            "max-T needs the same seeds for every claim of the family",
            f"numbers of seeds {sorted({len(claim.d) for claim in claims})}",
            'exclude incomplete seeds for the whole family, or declare method = "holm"',
        )


def _alone(claim: ClaimData, alpha: float, m: int, method: Correction) -> Result:
    """Return the comparison by itself, refused where the family cannot reach its level."""
    if claim.divergence:
        result = discordant_share(claim.d, alpha=alpha)
    elif claim.kind == "equivalence":
        result = equivalence(claim.d, claim.margin, alpha=alpha, claims=m)
    else:
        result = paired_difference(claim.d, null=claim.bound, alpha=alpha)
    if claim.estimand is not None:
        result = replace(result, estimand=claim.estimand)
    if claim.seed_correlation is not None:
        details = {**result.details, "seed_correlation": claim.seed_correlation}
        result = replace(result, details=details)
    result = mark_fragile(result, 0 if claim.divergence else claim.diverged)
    refusal = result.refusal
    if refusal is None and claim.kind == "equivalence":
        if not reaches(2.0 ** -len(claim.d), alpha / m):
            refusal = f"cannot reach α = {alpha / m:.3g} at this n: {len(claim.d)} seeds"
    elif refusal is None:
        refusal = cannot_reach(count_nonzero(difference(claim.d, claim.bound)), alpha, m, method)
    if refusal is None:
        return result
    return replace(result, refusal=refusal, p=None, interval=None, level=None)


def _p_for_holm(result: Result) -> float:
    if result.p is None:
        return 1.0
    refuted = result.details.get("p_refuted", 1.0)
    return min(result.p, float(refuted)) if isinstance(refuted, float) else result.p


def _band_pairs(band: Band, claims: Sequence[ClaimData]) -> list[Interval | None]:
    return [
        (float(low) + claim.bound, float(high) + claim.bound) if kept else None
        for low, high, kept, claim in zip(band.low, band.high, band.kept, claims, strict=True)
    ]


def _bonferroni(claim: ClaimData, level: float) -> Interval | None:
    if claim.divergence:
        return discordant_share(claim.d, alpha=level).interval
    if claim.kind == "equivalence":
        return equivalence(claim.d, claim.margin, alpha=level).interval
    return subset_mean_interval(claim.d, level, null=claim.bound)


def _verdict(
    claim: ClaimData, result: Result, p: float, pair: Interval | None, alpha: float, m: int
) -> Verdict:
    fragile = result.details.get("fragile") is True
    if result.refusal is not None:
        return Verdict(claim.name, "inconclusive", result.refusal, result, None, fragile)
    details = {**result.details, "adjusted_p": p}
    if m > 1:
        details["interval_note"] = _ALONE
        details["simultaneous_interval"] = pair
    result = replace(result, details=details)
    outcome: Outcome
    if claim.kind == "equivalence":
        outcome, why = _equivalence_outcome(claim, result, p, alpha)
    else:
        outcome, why = _one_sided_outcome(claim, result, p, alpha / m, alpha)
    return Verdict(claim.name, outcome, why, result, p, fragile)


def _one_sided_outcome(
    claim: ClaimData, result: Result, p: float, guard_alpha: float, alpha: float
) -> tuple[Outcome, str]:
    bound = 0.5 if claim.divergence else claim.bound
    where = f"{number(result.estimate)} against the bound {number(bound)}"
    if not reaches(p, alpha):
        return "inconclusive", f"adjusted p = {p_text(p)} exceeds {alpha:g}; estimate {where}"
    guard = asymmetry_guard(claim.d, guard_alpha)
    if not claim.divergence and not guard.agrees(claim.bound):
        return (
            "inconclusive",
            f"adjusted p = {p_text(p)}, but the differences are skewed and the bootstrap-t "
            f"interval holds the bound {number(bound)}",
        )
    outcome: Outcome = "supported" if result.estimate > bound else "refuted"
    return outcome, f"adjusted p = {p_text(p)}; estimate {where}"


def _equivalence_outcome(
    claim: ClaimData, result: Result, p: float, alpha: float
) -> tuple[Outcome, str]:
    refuted, beyond = result.details["p_refuted"], result.details["refutation_interval"]
    if not (isinstance(refuted, float) and isinstance(beyond, tuple)) or result.p is None:
        return "inconclusive", "no test of the margins"
    if not reaches(p, alpha):
        return (
            "inconclusive",
            f"adjusted p = {p_text(p)} exceeds {alpha:g} for both being within and being beyond "
            f"±{number(claim.margin)}",
        )
    if result.p <= refuted:
        inside = result.interval is not None and max(map(abs, result.interval)) < claim.margin
        if inside:
            return "supported", f"adjusted p = {p_text(p)}; within ±{number(claim.margin)}"
    elif float(beyond[0]) > claim.margin or float(beyond[1]) < -claim.margin:
        return "refuted", f"adjusted p = {p_text(p)}; beyond ±{number(claim.margin)}"
    return (
        "inconclusive",
        f"adjusted p = {p_text(p)}, but the differences are skewed and a bootstrap-t interval "
        "holds a margin",
    )
