"""Claims in sentences: what both sides share is said once, and no name of a protocol's axis."""

from __future__ import annotations

import math
from typing import Any

import pytest

from normbench.analysis.phrases import claim_amount, claim_sentence, claim_unit, setting_text


def row(a: str, b: str, **changes: Any) -> dict[str, Any]:
    return {
        "a": a, "b": b, "kind": "superiority", "endpoint": "final", "metric": "val_error",
        "task": "classification", "goal": "min", "times": "", "threshold": math.nan, "margin": 0.0,
        "verdict": "supported", "refusal": "", "reason": "", "estimate": 0.02, "low": 0.01,
        "high": 0.03, "level": 0.95, "adjusted_p": 0.01, "n": 12, "diverged_a": 0, "diverged_b": 0,
    } | changes  # fmt: skip


@pytest.mark.parametrize(
    ("a", "b", "said"),
    [
        ("batch", "none", "of batch norm is 2.0 points lower than that of no normalization at "
         "batch size 8 (95 % interval 1.0 to 3.0"),
        ("batch, batch_size=2", "layer, batch_size=2",
         "of batch norm is 2.0 points lower than that of layer norm at batch size 2 ("),
        ("batch, batch_size=2", "batch, batch_size=8",
         "of batch norm at batch size 2 is 2.0 points lower than that of batch norm at batch "
         "size 8 ("),
        ("none, input_norm=raw", "layer, input_norm=raw",
         "of no normalization is 2.0 points lower than that of layer norm at batch size 8 on raw "
         "inputs ("),
        ("batch, batch_size=2 (recomputed statistics)", "batch, batch_size=2",
         "of batch norm (recomputed statistics) is 2.0 points lower than that of batch norm at "
         "batch size 2 ("),
        ("group(eps=1, groups=4), lr_schedule=step", "group(eps=1, groups=4), lr_schedule=cosine",
         "of group norm (eps 1, groups 4) with learning-rate schedule step is 2.0 points lower"),
        ("input_norm=raw", "input_norm=centred",
         "of input normalization raw is 2.0 points lower than that of input normalization centred"),
    ],
)  # fmt: skip
def test_what_both_sides_share_is_said_once(a: str, b: str, said: str) -> None:
    assert said in claim_sentence(row(a, b), (8,) if "batch_size" not in a else (2,))


def test_the_endpoint_is_said_in_words() -> None:
    told = claim_sentence(row("layer", "none", endpoint="aulc", metric="test_accuracy"), (8,))
    assert told.startswith("The mean test accuracy of layer norm is 2.0 points higher than")
    loss = row("layer", "none", metric="val_loss", task="regression", estimate=-0.25)
    assert "validation squared error of layer norm is 0.25 higher" in claim_sentence(loss, (8,))
    time = row("layer", "none", endpoint="time", metric="val_accuracy", threshold=0.9, estimate=1.5,
               times="difference")  # fmt: skip
    told = claim_sentence(time, (8,))
    assert "reaches a validation accuracy of 0.9, 1.50 epochs earlier than no normal" in told


@pytest.mark.parametrize(
    ("estimate", "said", "shown"),
    [(math.log(1.5), "1.50 times as fast as", "1.50"),
     (-math.log(1.5), "1.50 times as slowly as", "0.67")],
)  # fmt: skip
def test_a_ratio_of_times_is_no_number_of_epochs(estimate: float, said: str, shown: str) -> None:
    found = row(
        "layer", "none", endpoint="time", metric="val_accuracy", threshold=0.9,
        times="geometric-ratio", estimate=estimate, low=estimate - 0.1, high=estimate + 0.1,
    )  # fmt: skip
    told = claim_sentence(found, (8,))
    assert f"Layer norm reaches a validation accuracy of 0.9, {said} no normalization" in told
    assert "95 % interval 1.36 to 1.66" in told
    assert "epochs" not in told
    assert (claim_amount(found, "estimate"), claim_unit(found)) == (shown, "times as fast")


def test_settings_are_said_in_words() -> None:
    assert setting_text("") == ""
    assert setting_text("input_norm=raw, epochs=5") == "input normalization raw, epochs 5"
    assert setting_text("dataset=houses(area_unit=are, n=3), momentum=0.9") == (
        "dataset houses(area_unit=are, n=3), momentum 0.9"
    )
