"""Where pooled thresholds come from, in words."""

from __future__ import annotations

from typing import Any

from normbench.analysis.pooled import threshold_key
from normbench.results.load import Results


def pooled_notes(results: Results) -> list[str]:
    """Where each pooled threshold comes from, and whether it stands, in words."""
    wanted = {threshold_key(c): c for c in results.study.claims if c.endpoint.threshold == "pooled"}
    return [
        f"{claim.experiment}, {claim.endpoint.metric}: {level(results.pooled[key])}"
        for key, claim in wanted.items()
        if key in results.pooled
    ]


def level(one: dict[str, Any]) -> str:
    """A pooled threshold with the runs it rests on, and when it was frozen."""
    planned = one.get("planned")
    some = f"{one['runs']:,} runs" if planned is None else f"{one['runs']:,} of {planned:,} runs"
    if "decided" in one:
        return f"{one['threshold']:.4g}, frozen {one['decided']}, from {some}"
    return (
        f"{one['threshold']:.4g}, provisional, from {some}: it is frozen when the planned runs are "
        "complete, or by --freeze"
    )
