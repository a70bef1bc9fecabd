"""How many seeds a claim needs, and what a given number of seeds can show."""

from __future__ import annotations

from math import ceil
from statistics import NormalDist

from normbench.stats.checks import check_alpha, check_count, check_positive, fault
from normbench.stats.refusals import Correction, minimum_seeds
from normbench.stats.result import Result

LEAST_PLANNED = 8
_EXTRA = 2


def seeds_needed(
    sd: float,
    delta: float,
    *,
    power: float = 0.8,
    alpha: float = 0.05,
    claims: int = 1,
    correction: Correction = "holm",
) -> Result:
    """Return, as ``estimate``, the number of seeds for a paired comparison.

    n ≈ ((z₁₋α/₂ₘ + z_power)·σ/δ)² + 2, rounded up, at least 8 and at least what lets the
    flip test reach its level. The differences are taken as roughly normal.

    Args:
        sd: σ, standard deviation of the paired difference, from a pilot or earlier runs.
        delta: δ > 0, the difference that must not be missed, in the same unit.
        power: probability of finding it, above ½.
        alpha: family-wise level.
        claims: m, the number of claims in the family.
        correction: how the family is corrected.

    Raises:
        StatisticsError: sd or delta not above 0, power outside (½, 1), alpha outside (0, 1).
    """
    factor = _factor(power, alpha, claims)
    raw = (factor * check_positive(sd, "sd") / check_positive(delta, "delta")) ** 2 + _EXTRA
    n = max(LEAST_PLANNED, ceil(raw - 1e-9), minimum_seeds(alpha, claims, correction))
    return Result(
        name="seeds needed",
        estimand=f"seeds for power {power:g} at a difference of {delta:g}, α = {alpha:g}",
        estimate=float(n),
        interval=None,
        level=None,
        p=None,
        n=n,
        assumptions=("paired differences are roughly normal with the given sd",),
        details={"sd": sd, "delta": delta, "power": power, "claims": claims, "formula": raw},
    )


def minimum_detectable_effect(
    n: int, sd: float, *, power: float = 0.8, alpha: float = 0.05, claims: int = 1
) -> Result:
    """Return, as ``estimate``, the difference that n seeds find with the given power.

    The formula of ``seeds_needed`` solved for δ. Below 6 seeds nothing can be tested and
    the result is a refusal.

    Raises:
        StatisticsError: n not a positive whole number, sd not above 0, power outside
            (½, 1), alpha outside (0, 1).
    """
    factor = _factor(power, alpha, claims) * check_positive(sd, "sd")
    least = minimum_seeds(alpha, claims, "max-t")
    refusal = None
    if check_count(n, "n") < least:
        refusal = f"cannot reach α = {alpha:g} at this n: {n} seeds, {least} are needed"
    return Result(
        name="minimum detectable effect",
        estimand=f"difference that {n} seeds find with power {power:g}, α = {alpha:g}",
        estimate=float("nan") if refusal else factor / (n - _EXTRA) ** 0.5,
        interval=None,
        level=None,
        p=None,
        n=n,
        assumptions=("paired differences are roughly normal with the given sd",),
        refusal=refusal,
        details={"sd": sd, "power": power, "claims": claims},
    )


def _factor(power: float, alpha: float, claims: int) -> float:
    if not 0.5 < power < 1.0:
        raise fault("power must lie between ½ and 1", power, "use 0.8 or 0.9")
    quantile = NormalDist().inv_cdf
    level = check_alpha(alpha) / check_count(claims, "claims")
    return quantile(1.0 - level / 2.0) + quantile(power)
