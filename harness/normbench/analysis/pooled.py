"""Thresholds that are pooled from all runs of an experiment, blind to their configuration."""

from __future__ import annotations

from typing import Any

import numpy as np

from normbench.analysis.curves import curves_of
from normbench.errors import StatisticsError
from normbench.plan.spec import digest
from normbench.protocol.resolved import ResolvedClaim
from normbench.results.load import Results
from normbench.results.schema import DONE
from normbench.stats.thresholds import REACHED_SHARE, pooled_threshold


def threshold_key(claim: ResolvedClaim) -> str:
    """The key of a pooled threshold: the experiment, the metric and the window alone."""
    return digest([claim.experiment, claim.endpoint.metric, claim.endpoint.window, "pooled"])


def pooled_thresholds(results: Results, known: set[str]) -> dict[str, dict[str, Any]]:
    """The pooled thresholds that claims ask for and that are not known yet.

    Each is the hardest level that 80 % of all evaluation runs of the experiment reach, computed
    from whatever runs are there at this look: ``runs`` of ``planned``, undefined ones left out.
    """
    wanted = {
        threshold_key(claim): claim
        for claim in results.study.claims
        if claim.endpoint.threshold == "pooled"
    }
    wanted = {key: claim for key, claim in wanted.items() if key not in known}
    if not wanted:
        return {}
    curves = curves_of(results)
    found = {}
    for key, claim in wanted.items():
        own = results.runs[
            (results.runs["experiment"] == claim.experiment)
            & (results.runs["phase"] == "evaluation")
        ]
        runs = own[own["status"].isin(DONE)]
        series = results.study.experiment(claim.experiment)
        planned = len(series.cells) * len(series.seeds) - int((own["status"] == "undefined").sum())
        read = [
            curves.metric(list(part["run_hash"]), claim.endpoint.metric)
            for _, part in runs.groupby("cell_hash", sort=False)
        ]
        read = [one for one in read if np.isfinite(one[1]).any()]  # a probe may not be everywhere
        places, groups = [x for x, _ in read], [values for _, values in read]
        if len(groups) < 2:
            continue
        try:
            level = pooled_threshold(
                groups, goal=claim.endpoint.better, window=claim.endpoint.window, x=places
            )
        except StatisticsError:  # too few runs got anywhere: the claim is void until more do
            continue
        found[key] = {
            "threshold": level,
            "experiment": claim.experiment,
            "metric": claim.endpoint.metric,
            "window": claim.endpoint.window,
            "share": REACHED_SHARE,
            "runs": len(runs),
            "planned": planned,
        }
    return found
