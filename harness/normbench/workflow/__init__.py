"""The workflow: plan, run, resume, decide. The only place that writes results."""

from __future__ import annotations

from normbench.workflow.decide import analyse, note_look, pool
from normbench.workflow.plan import (
    Planned,
    prepare_plan,
    replan,
    statuses,
)
from normbench.workflow.plan_summary import PlanSummary, summarise_plan
from normbench.workflow.run import Observer, run_study
from normbench.workflow.summary import Summary

__all__ = [
    "Observer",
    "PlanSummary",
    "Planned",
    "Summary",
    "analyse",
    "note_look",
    "pool",
    "prepare_plan",
    "replan",
    "run_study",
    "statuses",
    "summarise_plan",
]
