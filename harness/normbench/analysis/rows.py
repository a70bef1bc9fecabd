"""Results of the statistics as columns of a table: the one place that makes them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from normbench.analysis.boundary import reason
from normbench.errors import StatisticsError
from normbench.stats.result import Caveat, Result
from normbench.stats.verdict import Verdict

RESULT_COLUMNS = [
    "estimate", "low", "high", "level", "p", "n", "refusal", "warnings", "caveats", "assumptions",
    "estimand",
]  # fmt: skip
#: What a family adds to a comparison by itself.
FAMILY_COLUMNS = ["adjusted_p", "simultaneous_low", "simultaneous_high", "fragile"]


def number(value: object) -> float:
    """A number that may be absent, as a column holds it."""
    return float(value) if isinstance(value, int | float) else np.nan


def ends(interval: object) -> tuple[float, float]:
    """Both ends of an interval that may be absent."""
    if isinstance(interval, tuple) and len(interval) == 2:
        return float(interval[0]), float(interval[1])
    return np.nan, np.nan


def caveat_columns(caveats: Iterable[Caveat]) -> dict[str, Any]:
    """What a reader must know: ``warnings`` in sentences, and in ``caveats`` what each is about."""
    found = list(dict.fromkeys(caveats))
    return {
        "warnings": "; ".join(map(str, found)),
        "caveats": tuple(dict.fromkeys(caveat.kind for caveat in found)),
    }


def result_row(result: Result, notes: Iterable[Caveat] = ()) -> dict[str, Any]:
    """A statistical result as columns, with the notes of its pairing among the warnings."""
    low, high = ends(result.interval)
    return {
        "estimate": result.estimate,
        "low": low,
        "high": high,
        "level": number(result.level),
        "p": number(result.p),
        "n": result.n,
        "refusal": result.refusal or "",
        **caveat_columns([*result.warnings, *notes]),
        "assumptions": "; ".join(result.assumptions),
        "estimand": result.estimand,
    }


def verdict_row(
    verdict: Verdict, notes: Iterable[Caveat] = (), alone: Result | None = None
) -> dict[str, Any]:
    """A comparison that was judged in a family: by itself, and corrected for the others.

    ``alone`` is the comparison by itself where its interval has another level than the family.
    """
    low, high = ends(verdict.result.details.get("simultaneous_interval"))
    return result_row(alone or verdict.result, notes) | {
        "adjusted_p": number(verdict.adjusted_p),
        "simultaneous_low": low,
        "simultaneous_high": high,
        "fragile": verdict.fragile,
    }


def refused_row(why: str, estimand: str) -> dict[str, Any]:
    """The result columns of a comparison that could not be made."""
    row: dict[str, Any] = dict.fromkeys(RESULT_COLUMNS, np.nan)
    texts = {"refusal": why, "assumptions": "", "estimand": estimand}
    return row | {"n": 0, **caveat_columns(()), **texts}


def attempted(estimand: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The result columns of a comparison, a refusal where the values have no such statistic."""
    try:
        return make()
    except StatisticsError as error:
        return refused_row(reason(error), estimand)
