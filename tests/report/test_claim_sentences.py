"""Claims in sentences: what both sides share is said once, and no name of a protocol's axis."""

from __future__ import annotations

import math
from typing import Any

import pytest

from normbench.analysis.settings import Level, Setting
from normbench.protocol.resolved import ResolvedClaim, side_label
from normbench.protocol.study import Study
from normbench.report.claim_sentences import claim_amount, claim_sentence, claim_unit
from normbench.report.phrases import setting_text

RUNNING = "running"
#: An evaluation is given like an axis here.
Axes = dict[str, str]


def resolved(a: Axes, b: Axes, kind: str = "superiority", **more: Any) -> ResolvedClaim:
    sizes = (8,) if "batch_size" not in a else (int(a["batch_size"]),)
    sides = [dict(side) for side in (a, b)]
    kinds = [side.pop("evaluation", RUNNING) for side in sides]
    return ResolvedClaim.model_validate(
        {
            "id": "c", "family": "f", "kind": kind, "experiment": "e", "margin": 0.0,
            "a_label": side_label(sides[0], kinds[0]), "b_label": side_label(sides[1], kinds[1]),
            "a_axes": sides[0], "b_axes": sides[1], "a_evaluation": kinds[0],
            "b_evaluation": kinds[1], "expect": None, "chapter": "", "text": "",
            "endpoint": {"kind": "final", "metric": "val_error", "failure_score": 0.9},
            "hypotheses": ({"name": "c", "a": (0,), "b": (1,), "batch_sizes": sizes},),
        } | more
    )  # fmt: skip


def row(**changes: Any) -> dict[str, Any]:
    return {
        "claim": "c", "hypothesis": "c", "kind": "superiority", "endpoint": "final",
        "metric": "val_error",
        "task": "classification", "goal": "min", "times": "", "threshold": math.nan, "margin": 0.0,
        "verdict": "supported", "refusal": "", "reason": "", "estimate": 0.02, "low": 0.01,
        "high": 0.03, "level": 0.95, "adjusted_p": 0.01, "n": 12, "diverged_a": 0, "diverged_b": 0,
    } | changes  # fmt: skip


def sentence(a: Axes, b: Axes, **changes: Any) -> str:
    claim = resolved(a, b)
    study = Study(name="s", title="S", description="", alpha=0.05, experiments=(), claims=(claim,))
    return claim_sentence(row(**changes), study)


LAYER, NONE = {"norm": "layer"}, {"norm": "none"}
GROUP = {"norm": "group(eps=1, groups=4)"}


@pytest.mark.parametrize(
    ("a", "b", "said"),
    [
        ({"norm": "batch"}, NONE,
         "of batch norm is 2.0 points lower than that of no normalization at "
         "batch size 8 (95 % interval 1.0 to 3.0"),
        ({"norm": "batch", "batch_size": "2"}, LAYER | {"batch_size": "2"},
         "of batch norm is 2.0 points lower than that of layer norm at batch size 2 ("),
        ({"norm": "batch", "batch_size": "2"}, {"norm": "batch", "batch_size": "8"},
         "of batch norm at batch size 2 is 2.0 points lower than that of batch norm at batch "
         "size 8 ("),
        (NONE | {"input_norm": "raw"}, LAYER | {"input_norm": "raw"},
         "of no normalization is 2.0 points lower than that of layer norm at batch size 8 on raw "
         "inputs ("),
        ({"norm": "batch", "batch_size": "2", "evaluation": "recomputed"},
         {"norm": "batch", "batch_size": "2"},
         "of batch norm (recomputed statistics) is 2.0 points lower than that of batch norm at "
         "batch size 2 ("),
        (GROUP | {"lr_schedule": "step"}, GROUP | {"lr_schedule": "cosine"},
         "of group norm (eps 1, groups 4) with learning-rate schedule step is 2.0 points lower"),
        ({"input_norm": "raw"}, {"input_norm": "centred"},
         "of input normalization raw is 2.0 points lower than that of input normalization centred"),
    ],
)  # fmt: skip
def test_what_both_sides_share_is_said_once(a: Axes, b: Axes, said: str) -> None:
    assert said in sentence(a, b)
    # older results hold the labels alone
    new = resolved(a, b)
    old = new.model_dump(exclude={"a_axes", "b_axes"})
    assert ResolvedClaim.model_validate(old) == new


def test_the_endpoint_is_said_in_words() -> None:
    told = sentence(LAYER, NONE, endpoint="aulc", metric="test_accuracy")
    assert told.startswith("The mean test accuracy of layer norm is 2.0 points higher than")
    loss = sentence(LAYER, NONE, metric="val_loss", task="regression", estimate=-0.25)
    assert "validation squared error of layer norm is 0.25 higher" in loss
    told = sentence(LAYER, NONE, endpoint="time", metric="val_accuracy", threshold=0.9,
                    estimate=1.5, times="difference")  # fmt: skip
    assert "reaches a validation accuracy of 0.9, 1.50 epochs earlier than no normal" in told


@pytest.mark.parametrize(
    ("estimate", "said", "shown"),
    [(math.log(1.5), "1.50 times as fast as", "1.50"),
     (-math.log(1.5), "1.50 times as slowly as", "0.67")],
)  # fmt: skip
def test_a_ratio_of_times_is_no_number_of_epochs(estimate: float, said: str, shown: str) -> None:
    found = {
        "endpoint": "time", "metric": "val_accuracy", "threshold": 0.9,
        "times": "geometric-ratio", "estimate": estimate, "low": estimate - 0.1,
        "high": estimate + 0.1,
    }  # fmt: skip
    told = sentence(LAYER, NONE, **found)
    assert f"Layer norm reaches a validation accuracy of 0.9, {said} no normalization" in told
    assert "95 % interval 1.36 to 1.66" in told
    assert "epochs" not in told
    assert (claim_amount(row(**found), "estimate"), claim_unit(row(**found))) == (
        shown,
        "times as fast",
    )


def test_settings_are_said_in_words() -> None:
    houses = Level("houses(area_unit=are, n=3)", "houses", (("area_unit", "are"), ("n", "3")))
    assert setting_text(Setting()) == ""
    some = Setting((("input_norm", Level("raw")), ("epochs", Level("5"))))
    assert setting_text(some) == "input normalization raw, epochs 5"
    some = Setting((("dataset", houses), ("momentum", Level("0.9"))))
    assert setting_text(some) == "dataset houses(area_unit=are, n=3), momentum 0.9"
