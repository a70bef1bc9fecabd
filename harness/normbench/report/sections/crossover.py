"""The batch size from which on a norm is no longer worse than the reference, in words."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from normbench.report.phrases import norm_name
from normbench.report.source import Source


def size_text(value: float) -> str:
    """A batch size, which may lie between those tested."""
    return f"{value:.0f}" if value >= 10 or value == round(value) else f"{value:.1f}"


def crossover_span(row: Mapping[Any, Any]) -> str:
    """The interval of a crossover in words; empty where there is none."""
    low, high = float(row["low"]), float(row["high"])
    if math.isnan(low) or math.isnan(high):
        return ""
    below, above = low <= 0, math.isinf(high)
    if below and above:
        return "open at both ends"
    if above and low >= row["largest"]:
        return f"above {size_text(row['largest'])}"
    if below and high <= row["smallest"]:
        return f"below {size_text(row['smallest'])}"
    if below:
        return f"below {size_text(row['smallest'])} to {size_text(high)}"
    if above:
        return f"{size_text(low)} to above {size_text(row['largest'])}"
    return f"{size_text(low)} to {size_text(high)}"


def crossover_sentence(source: Source, row: Mapping[Any, Any]) -> str:
    """What a row of the table ``crossover`` says."""
    norm, reference = norm_name(row["norm"]), norm_name(row["reference"])
    where = source.within(row["setting"])
    estimate = float(row["estimate"])
    if math.isnan(estimate):
        return f"where {norm} breaks against {reference} is not known{where}: {row['refusal']}."
    span = crossover_span(row)
    interval = f"{100 * row['level']:g} % interval {span}" if span else row["refusal"]
    tail = f" ({interval}; {row['n']} seeds){where}."
    if math.isinf(estimate):
        decided = not math.isnan(float(row["low"])) and float(row["low"]) >= row["largest"]
        if decided:
            return (
                f"{norm} is worse than {reference} at every batch size tested, up to "
                f"{row['largest']}: the crossover batch size is larger{tail}"
            )
        return (
            f"{norm} has a higher mean error than {reference} at every batch size up to "
            f"{row['largest']}{tail}"
        )
    if estimate <= row["smallest"]:
        return (
            f"{norm} has no higher mean error than {reference} at the smallest batch size "
            f"tested, {row['smallest']}: its crossover batch size is not above it{tail}"
        )
    return (
        f"the crossover batch size, from which on {norm} is no longer worse than {reference}, is "
        f"{size_text(estimate)}{tail}"
    )
