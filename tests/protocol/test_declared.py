"""What differs between two protocols, in words, and which claims it touches."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from normbench.protocol.declared import claim_changes, ranges, study_changes
from normbench.protocol.load import bundled_protocols, load_protocol, parse
from tests.analysis.made import document

END = {"failure_score": 0.9, "window": 1}
SIDES: dict[str, Any] = {"a": "layer", "b": "batch", "kind": "superiority", "endpoint": END}


def claims(**more: Any) -> list[dict[str, Any]]:
    """Claim c of batch against layer norm, and d, in a family of its own, of group norm."""
    return [
        {"id": "c", **SIDES, **more},
        {"id": "d", "family": "apart", **SIDES, "a": "group", "b": "none"},
    ]


def plain(change: Any = lambda doc: None) -> dict[str, Any]:
    doc = document(claim=claims(), family=[{"id": "apart"}])
    doc = copy.deepcopy(doc)
    change(doc)
    return parse(doc, "made.toml", "made").model_dump(mode="json")


def _norms(doc: dict[str, Any], *norms: Any) -> None:
    doc["experiment"][0]["product"]["norm"] = list(norms)


CHANGES: list[tuple[Any, str, set[str]]] = [
    (lambda d: d["protocol"].update(seeds=12), "one: seeds added: 10–11", {"c", "d"}),
    (lambda d: d["protocol"].update(seeds=[0, 1, 2, 3, 5, 6, 7, 8]), "seeds left out: 4, 9",
     {"c", "d"}),
    (lambda d: d["protocol"].update(alpha=0.01), "alpha: 0.05 → 0.01", {"c", "d"}),
    (lambda d: d["defaults"].update(learning_rate=0.2), "learning_rate: 0.1 → 0.2", {"c", "d"}),
    (lambda d: d["defaults"].update(epochs=3), "epochs: 2 → 3", {"c", "d"}),
    (lambda d: d["defaults"].update(optimizer="adam"), "optimizer: sgd(", {"c", "d"}),
    (lambda d: _norms(d, "none", "batch", "layer", "group", "rms", "instance"), "norm: rms(",
     set()),
    (lambda d: _norms(d, "none", {"name": "batch", "momentum": 0.5}, "layer", "group"),
     "momentum=0.5", {"c"}),
    (lambda d: d["experiment"][0]["product"].update(batch_size=[2, 8]),
     "batch_size: 32 left out", {"c", "d"}),
    (lambda d: d["protocol"].update(thresholds=[0.5]), "thresholds: none → 0.5", set()),
    (lambda d: d["protocol"].update(metric="loss"), "metric: accuracy → loss", set()),
    (lambda d: d["protocol"].update(window=2), "window: 1 → 2", set()),
    (lambda d: d["claim"][0].update(margin=0.01), "claim c: margin: 0 → 0.01", {"c"}),
    (lambda d: d["claim"][0].update(endpoint=END | {"metric": "val_loss"}),
     "claim c: endpoint metric: val_error → val_loss", {"c"}),
    (lambda d: d["claim"][0].update(endpoint=END | {"window": 2}), "endpoint window: 1 → 2", {"c"}),
    (lambda d: d["claim"][0].update(a="none"), "claim c: a_label: layer → none", {"c"}),
    (lambda d: d["claim"][0].update(b={"norm": "batch", "evaluation": "recomputed"}),
     "b_evaluation: running → recomputed", {"c"}),
    (lambda d: d["claim"].append({"id": "e", **SIDES, "b": "none"}), "claim e added", {"c", "e"}),
    (lambda d: d["claim"].pop(0), "claim c left out", set()),
    (lambda d: d["family"][0].update(method="holm"), "apart: correction: max-t → holm", {"d"}),
    (lambda d: d["claim"][0].update(family="apart"), "family: all-claims → apart", {"c", "d"}),
    (lambda d: d["experiment"].append({"name": "two", "norm": "rms", "batch_size": 4}),
     "experiment two added", set()),
    (lambda d: d["defaults"].update(probes=["weights"]), "probes: none → ", set()),
]  # fmt: skip


@pytest.mark.parametrize(("change", "line", "touched"), CHANGES)
def test_what_changed_is_said_and_touches_the_claims_that_rest_on_it(change, line, touched):
    if line == "experiment two added":
        inner = change

        def change(doc):
            inner(doc)
            for claim in doc["claim"]:
                claim["experiment"] = "one"

    old, new = plain(), plain(change)
    assert any(line in said for said in study_changes(old, new)), study_changes(old, new)
    assert set(claim_changes(old, new)) == touched


@pytest.mark.parametrize(
    "change",
    [
        lambda d: None,
        lambda d: d["protocol"].update(title="Other words", description="more"),
        lambda d: d["claim"][0].update(text="said otherwise", chapter="1", expect="supported"),
        lambda d: d["experiment"][0].update(title="One"),
        lambda d: d["claim"].reverse(),
        lambda d: _norms(d, "group", "layer", "batch", "none"),
    ],
)
def test_words_and_order_are_no_changes(change):
    assert study_changes(plain(), plain(change)) == []
    assert claim_changes(plain(), plain(change)) == {}


def test_a_tuning_grid_belongs_to_what_was_declared():
    def tuned(grid):
        def change(doc):
            del doc["defaults"]["learning_rate"]
            doc["experiment"][0]["tune"] = {"learning_rate": grid, "seeds": 2}

        return plain(change)

    old, new = tuned([0.1, 0.2]), tuned([0.1, 0.2, 0.4])
    assert "one: tuning: " in study_changes(old, new)[0]
    assert set(claim_changes(old, new)) == {"c", "d"}


def test_a_pooled_threshold_rests_on_every_cell():
    end = {"kind": "time", "metric": "val_accuracy", "threshold": "pooled", "window": 1}

    def pooled(*norms):
        def change(doc):
            doc["claim"][0]["endpoint"] = end
            _norms(doc, "none", "batch", "layer", "group", *norms)

        return plain(change)

    assert set(claim_changes(pooled(), pooled("rms"))) == {"c"}


def test_an_axis_that_there_was_not_yet_counts_with_its_default():
    old = plain()
    for cell in old["experiments"][0]["cells"]:
        del cell["clip_norm"], cell["probes"], cell["position"]
    assert study_changes(old, plain()) == []
    assert claim_changes(old, plain()) == {}
    assert claim_changes(old, plain(lambda d: d["defaults"].update(clip_norm=1.0)))


def test_lines_are_bounded_and_the_bundled_protocols_equal_themselves():
    assert ranges([0, 1, 2, 5, 7, 8]) == "0–2, 5, 7–8"
    assert len(ranges(list(range(0, 20_000, 2)))) < 200
    for name in bundled_protocols():
        study = load_protocol(name).model_dump(mode="json")
        assert study_changes(study, copy.deepcopy(study)) == []
        assert claim_changes(study, copy.deepcopy(study)) == {}
