"""Up to which batch size a norm is worse than the reference, and where it is not, in words."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from normbench.report.phrases import amount, norm_name
from normbench.report.source import Source


def size_text(value: float) -> str:
    """A batch size, which may lie between those tested."""
    return f"{value:.0f}" if value >= 10 or value == round(value) else f"{value:.1f}"


def crossover_span(row: Mapping[Any, Any]) -> str:
    """The interval of a crossing in words; empty where it is open at an end or not known."""
    low, high = float(row["low"]), float(row["high"])
    if not (low > 0 and math.isfinite(high)):
        return ""
    return f"{size_text(low)} to {size_text(high)}"


def crossover_sentence(source: Source, row: Mapping[Any, Any]) -> str:
    """What may be said of where a norm breaks, from a row of the table ``crossover``."""
    norm, reference = norm_name(row["norm"]), norm_name(row["reference"])
    where = source.within(row["setting"])
    if row["refusal"]:
        return f"where {norm} breaks against {reference} is not known{where}: {row['refusal']}."
    metric = source.study.experiment(row["experiment"]).metric
    parts = []
    up_to, first = float(row["worse_up_to"]), float(row["within_from"])
    if not math.isnan(up_to):
        parts.append(f"worse than {reference} {_up_to(row, up_to)}")
    if not math.isnan(first):
        whom = "it" if parts else reference
        parts.append(
            f"within the declared {amount(row['margin'], metric)} of {whom}, or better, "
            f"{_from(row, first)}"
        )
    if not parts:
        return (
            f"from which batch size on {norm} is no worse than {reference} is not located{where} "
            f"({row['n']} seeds)."
        )
    return f"{norm} is {' and '.join(parts)}{where} ({row['n']} seeds)."


def _up_to(row: Mapping[Any, Any], size: float) -> str:
    if size >= row["largest"]:
        return f"at every batch size tested, up to {row['largest']}"
    if size <= row["smallest"]:
        return f"at batch size {row['smallest']}"
    return f"up to batch size {size_text(size)}"


def _from(row: Mapping[Any, Any], size: float) -> str:
    if size <= row["smallest"]:
        return "at every batch size tested"
    if size >= row["largest"]:
        return f"at batch size {row['largest']}"
    return f"from batch size {size_text(size)} on"
