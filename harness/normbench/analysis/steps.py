"""Seconds of a training step in two result sets: described, as the passes did not take turns."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from normbench.analysis.endpoints import KEYS, key_columns
from normbench.analysis.matching import Match
from normbench.analysis.seconds import NONE, Timings
from normbench.stats.durations import median_time

STEPS = ["cell", *KEYS, "seconds_a", "seconds_b", "ratio", "low", "high", "level", "repetitions_a",
         "repetitions_b", "warnings"]  # fmt: skip


def step_table(matches: list[Match], a: Timings, b: Timings, alpha: float) -> pd.DataFrame:
    """Per cell timed in both: median seconds of a step, and B's over A's.

    The interval of the ratio has the ends of both medians' intervals, each at level 1 − alpha/2:
    both hold at once with at least 1 − alpha (Bonferroni). It holds for the repetitions of these
    two passes. There is no p-value: A and B were not timed in turns, so what the machine did
    meanwhile is in the ratio.
    """
    rows = []
    for match in matches:
        ones, others = a.get(match.a.cell.cell_hash), b.get(match.b.cell.cell_hash)
        if ones is None or others is None:
            continue
        left = median_time(ones.seconds["step"], alpha=alpha / 2)
        right = median_time(others.seconds["step"], alpha=alpha / 2)
        low, high = NONE
        if left.interval is not None and right.interval is not None and left.interval[0] > 0:
            low = right.interval[0] / left.interval[1]
            high = right.interval[1] / left.interval[0]
        row: dict[str, Any] = {
            "cell": match.a.cell.cell_hash,
            "seconds_a": left.estimate,
            "seconds_b": right.estimate,
            "ratio": right.estimate / left.estimate if left.estimate > 0 else np.nan,
            "low": low,
            "high": high,
            "level": 1 - alpha if low == low else np.nan,
            "repetitions_a": left.n,
            "repetitions_b": right.n,
            "warnings": "; ".join(_unlike(ones.row, others.row)),
        }
        rows.append(key_columns(match.a.cell) | row)
    return pd.DataFrame(rows, columns=STEPS)


def _unlike(a: dict[str, Any], b: dict[str, Any]) -> list[str]:
    """What else differed between the passes."""
    names = {"device": "device", "threads": "threads", "environment": "environment"}
    return [
        f"another {what}" if name == "environment" else f"{what}: {a[name]} → {b[name]}"
        for name, what in names.items()
        if str(a[name]) != str(b[name])
    ]
