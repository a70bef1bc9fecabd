"""Claims in the protocol: found, or named with what is wrong with them."""

from __future__ import annotations

from typing import Any

import pytest

from normbench.errors import ProtocolError
from normbench.protocol.load import parse
from normbench.protocol.study import Study
from tests.analysis.made import document

END = {"failure_score": 0.9}


def study(*claims: dict[str, Any], **changes: Any) -> Study:
    return parse(document(claim=list(claims), **changes), "made.toml", "made")


def claim(**content: Any) -> dict[str, Any]:
    base = {"id": "c", "kind": "superiority", "a": "layer", "b": "batch", "endpoint": END}
    return {k: v for k, v in (base | content).items() if v is not None}


def faults(*claims: dict[str, Any], **changes: Any) -> str:
    with pytest.raises(ProtocolError) as caught:
        study(*claims, **changes)
    return str(caught.value)


def test_sides_are_cells_of_the_same_batch_size() -> None:
    found = study(claim())
    cells = found.experiments[0].cells
    (resolved,) = found.claims
    assert [h.batch_sizes for h in resolved.hypotheses] == [(2,), (8,), (32,)]
    for hypothesis in resolved.hypotheses:
        a, b = cells[hypothesis.a[0]], cells[hypothesis.b[0]]
        assert (a.norm.name, b.norm.name) == ("layer", "batch")
        assert a.batch_size == b.batch_size == hypothesis.batch_sizes[0]


def test_over_restricts_the_batch_sizes() -> None:
    (resolved,) = study(claim(kind="interaction", over={"batch_size": [32, 2]})).claims
    assert resolved.hypotheses[0].batch_sizes == (2, 32)


def test_an_invariance_claim_compares_the_other_sizes_with_its_reference() -> None:
    found = study(claim(kind="equivalence", b=None, reference={"batch_size": 8}, margin=0.01))
    (hypothesis,) = found.claims[0].hypotheses
    cells = found.experiments[0].cells
    assert hypothesis.batch_sizes == (2, 32)
    assert {cells[i].batch_size for i in hypothesis.b} == {8}
    assert found.families[0].method == "holm"


def test_a_side_may_name_other_axes_and_the_evaluation() -> None:
    doc = document()
    doc["experiment"][0]["product"]["input_norm"] = ["raw", "per-channel"]
    side = {"norm": "batch", "input_norm": "raw", "evaluation": "recomputed", "batch_size": 2}
    doc["claim"] = [claim(a=side, b=side | {"evaluation": "running"})]
    (resolved,) = parse(doc, "x", "x").claims
    assert (resolved.a_evaluation, resolved.b_evaluation) == ("recomputed", "running")
    assert resolved.hypotheses[0].a == resolved.hypotheses[0].b


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"a": "lyer"}, ["claim[0].a", "did you mean 'layer'?"]),
        ({"b": {"norm": "batch", "batch_sise": 2}}, ["claim[0].b.batch_sise", "'batch_size'"]),
        ({"b": {"batch_size": 2}}, ["claim[0].b", "4 cells fit", "set norm"]),
        ({"over": {"batch_size": [64]}}, ["claim[0].a", "no cell", "at batch size 64"]),
        ({"kind": "equivalence"}, ["claim[0]", "margin above 0"]),
        ({"kind": "noninferiority"}, ["margin above 0"]),
        ({"b": None}, ["compares a with b"]),
        ({"reference": {"batch_size": 2}}, ["belongs to an equivalence claim"]),
        ({"endpoint": {}}, ["claim[0].endpoint", "needs failure_score"]),
        ({"endpoint": {"kind": "time"}}, ["needs a threshold"]),
        ({"endpoint": END | {"goal": "max"}}, ["goal of val_error is 'min'"]),
        ({"endpoint": END | {"metric": "val_eror"}}, ["claim[0].endpoint.metric", "'val_error'"]),
        ({"endpoint": {"kind": "diverged"}, "margin": 0.1}, ["without a margin"]),
        ({"family": "main"}, ["claim[0].family", "there is no such family"]),
        ({"experiment": "two"}, ["claim[0].experiment", "there is no such experiment"]),
        ({"where": {"batch_size": 7}}, ["claim[0].where", "no cell"]),
        ({"kind": "interaction", "over": {"batch_size": [2]}}, ["at least two batch sizes"]),
        ({"expect": "suported"}, ["claim[0].expect", "did you mean 'supported'?"]),
        ({"margin": -1.0}, ["claim[0].margin", "at least 0"]),
        ({"id": None}, ["claim[0].id", "required"]),
    ],
)
def test_faults_are_named(content: dict[str, Any], expected: list[str]) -> None:
    text = faults(claim(**content))
    for part in expected:
        assert part in text


SMOOTH = {"metric": "probe:effective-smoothness", "goal": "min", "failure_score": 1e4}


def probing(*probes: str) -> dict[str, Any]:
    doc = document()
    return {"defaults": doc["defaults"] | {"probes": list(probes)}}


@pytest.mark.parametrize("kind", ["final", "best", "aulc", "time"])
@pytest.mark.parametrize("layer", ["", "/fc1"])
def test_a_claim_may_be_about_what_a_probe_measured(kind: str, layer: str) -> None:
    end = SMOOTH | {"kind": kind, "metric": f"probe:weight-norm{layer}", "threshold": 3.0}
    (resolved,) = study(claim(endpoint=end), **probing("weights")).claims
    assert resolved.endpoint.better == "min"
    larger = study(claim(endpoint=end | {"goal": "max"}), **probing("weights"))
    assert larger.claims[0].endpoint.better == "max"
    # as it is stored and read again
    assert Study.model_validate(larger.model_dump(mode="json")) == larger


@pytest.mark.parametrize(
    ("content", "probes", "expected"),
    [
        ({"endpoint": SMOOTH}, [], ["claim[0].endpoint.metric", "does not record",
                                    "effective-smoothness", 'probes = ["landscape"]']),
        ({"endpoint": SMOOTH}, ["weights"], ["does not record", 'probes = ["landscape"]']),
        ({"endpoint": SMOOTH | {"goal": None}}, ["landscape"], ["needs a goal, min or max"]),
        ({"endpoint": {k: v for k, v in SMOOTH.items() if k != "failure_score"}}, ["landscape"],
         ["needs failure_score"]),
        ({"endpoint": SMOOTH | {"metric": "probe:efective-smoothness"}}, ["landscape"],
         ["claim[0].endpoint.metric", "did you mean 'effective-smoothness'?"]),
        ({"endpoint": SMOOTH | {"metric": "probe:"}}, ["landscape"], ["must be probe:NAME"]),
        ({"endpoint": SMOOTH | {"metric": "probe:weight-norm/"}}, ["weights"],
         ["must be probe:NAME"]),
        ({"endpoint": SMOOTH, "b": {"norm": "batch", "evaluation": "recomputed"}}, ["landscape"],
         ["claim[0].b.evaluation", "leave evaluation out"]),
    ],
)  # fmt: skip
def test_faults_of_claims_about_probes_are_named(
    content: dict[str, Any], probes: list[str], expected: list[str]
) -> None:
    end = {k: v for k, v in content["endpoint"].items() if v is not None}
    text = faults(claim(**(content | {"endpoint": end})), **probing(*probes))
    for part in expected:
        assert part in text


def test_only_the_cells_that_a_claim_is_about_must_record_its_probe() -> None:
    doc = document()
    product = {"norm": ["batch", "layer"], "batch_size": [8], "probes": [["landscape"], []]}
    doc["experiment"][0]["product"] = product
    where = {"probes": ["landscape"]}
    doc["claim"] = [claim(endpoint=SMOOTH, where=where)]
    assert len(parse(doc, "x", "x").claims[0].hypotheses) == 1
    doc["claim"] = [claim(endpoint=SMOOTH, where={"probes": []})]
    with pytest.raises(ProtocolError, match="does not record"):
        parse(doc, "x", "x")


def test_all_faulty_claims_are_told_at_once() -> None:
    text = faults(claim(id="x", a="lyer"), claim(id="y", endpoint={}), claim(id="z", margin=-1.0))
    assert "3 faults" in text


def test_ids_must_differ_and_max_t_refuses_equivalence() -> None:
    assert "different ids" in faults(claim(), claim())
    inv = claim(kind="equivalence", b=None, reference={"batch_size": 8}, margin=0.1, family="f")
    text = faults(inv, family=[{"id": "f", "method": "max-t"}])
    assert "corrected by holm" in text


def test_several_experiments_need_a_name() -> None:
    doc = document(claim=[claim()])
    doc["experiment"].append(doc["experiment"][0] | {"name": "two"})
    with pytest.raises(ProtocolError, match="a claim names one"):
        parse(doc, "x", "x")
