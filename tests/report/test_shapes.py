"""Pages of studies that lack something, or hold words that no page was made for."""

from __future__ import annotations

from pathlib import Path

import pytest

from normbench.report.blocks import Figure
from normbench.report.render import render_page
from tests.analysis.made import write
from tests.report.made_study import (
    CLAIMS,
    END,
    blocks,
    curve,
    doc,
    paged,
    sections,
    spoken,
    table,
)


def one_experiment(**product) -> list[dict]:
    return [{"name": "one", "product": {"norm": ["batch", "layer"], "batch_size": [8]} | product}]


VARIANTS = {
    "no thresholds": doc(thresholds=[]),
    "one norm": doc(experiment=one_experiment(norm=["layer"], batch_size=[2, 8])),
    "one norm that is batch norm": doc(
        experiment=one_experiment(norm=["batch"], batch_size=[2, 8]), reference="batch"
    ),
    "one batch size": doc(experiment=one_experiment()),
    "one cell": doc(experiment=one_experiment(norm=["layer"])),
    "one seed": doc(seeds=1),
    "one seed and claims": doc(CLAIMS, seeds=1),
    "three seeds": doc(CLAIMS, seeds=3),
    "six seeds": doc(CLAIMS, seeds=6),
    "losses": doc(metric="loss", thresholds=[0.5]),
    "batch norm as the reference": doc(reference="batch"),
    "thresholds that nobody reaches": doc(thresholds=[0.999]),
    "inputs": doc(experiment=one_experiment(input_norm=["raw", "global", "centred"])),
    "inputs and sizes": doc(
        experiment=one_experiment(input_norm=["raw", "global"], batch_size=[2, 8, 32])
    ),
    "another setting": doc(experiment=one_experiment(position=["pre", "post"])),
}


@pytest.mark.parametrize("kind", VARIANTS)
def test_a_study_of_any_shape_makes_a_page(tmp_path, kind):
    page, analysis = paged(write(tmp_path / "r", VARIANTS[kind], curve))
    text = " ".join(spoken(page))
    expected = {
        "no thresholds": "sets no thresholds",
        "one norm": "Only layer norm has results",
        "one norm that is batch norm": "the reference itself",
        "one batch size": "Only one batch size has results here",
        "one seed": "othing is decided by itself: 1 seed",
        "three seeds": "inconclusive",
        "losses": "nat",
        "batch norm as the reference": "it has no crossover",
        "thresholds that nobody reaches": "No run reached any of the thresholds",
        "inputs": "Global against raw at batch size 8",
        "inputs and sizes": "Global against raw at batch size 32",
    }.get(kind, "")
    assert expected in text
    assert ("inputs" in [s.anchor for s in page.sections]) == kind.startswith("inputs")
    assert ("no claims" in text) == analysis["claims"].empty


STATES = {
    "all diverged": lambda run: "diverged",
    "one norm diverged": lambda run: "diverged" if run.cell.norm.name == "none" else "finished",
    "batch norm undefined at 2": lambda run: (
        "undefined" if (run.cell.norm.name, run.cell.batch_size) == ("batch", 2) else "finished"
    ),
    "a seed failed": lambda run: (
        "failed" if run.seed == 3 and run.cell.batch_size == 8 else "finished"
    ),
    "one cell is there": lambda run: (
        "finished" if (run.cell.norm.name, run.cell.batch_size) == ("layer", 8) else "missing"
    ),
    "one run is there": lambda run: (
        "finished"
        if (run.cell.norm.name, run.cell.batch_size, run.seed) == ("batch", 8, 0)
        else "missing"
    ),
    "the reference is missing": lambda run: (
        "missing" if run.cell.norm.name == "layer" else "finished"
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", STATES)
@pytest.mark.parametrize("claims", [(), CLAIMS], ids=["no claims", "claims"])
def test_whatever_became_of_the_runs_there_is_a_page(tmp_path, kind, claims):
    page, _ = paged(write(tmp_path / "r", doc(claims), curve, status=STATES[kind]))
    text = " ".join(spoken(page))
    if "missing" in kind or "is there" in kind:
        assert "These results are not complete" in text
    if "undefined" in kind:
        assert "one, batch, batch size 2: undefined: no meaning" in text
        assert "10 undefined" in page.lines[-1]
    if "diverged" in kind:
        assert table(page, "completeness-divergence").rows


def test_a_tuned_study_shows_rates_and_their_stable_range(tmp_path):
    tuned = one_experiment()[0] | {"tune": {"learning_rate": [0.01, 0.1, 1.0], "seeds": 2}}

    def tuning(run):
        return curve(run) if run.cell.learning_rate != 1.0 else [0.1, 0.1, 0.1]

    page, _ = paged(write(tmp_path / "r", doc(experiment=[tuned]), tuning))
    found = table(page, "pairwise-rates")
    assert {row[1].text for row in found.rows} == {"batch", "layer"}
    assert any(isinstance(b, Figure) and b.anchor == "pairwise-one-rates" for b in blocks(page))


HOSTILE = {
    "markup": "<script>alert(1)</script> & <b>bold</b>",
    "long": ("word " * 40).strip(),
    "other scripts": "正規化 нормализация تسوية",
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_words_of_a_protocol_stay_words(tmp_path, kind):
    words = HOSTILE[kind]
    experiment = one_experiment(batch_size=[2, 8])[0] | {"title": words}
    claims = [CLAIMS[0] | {"chapter": words, "text": words}]
    header = {"title": words, "description": words}
    page, _ = paged(write(tmp_path / "r", doc(claims, [experiment], **header), curve))
    assert page.title == words
    assert any(s.title == words for s in sections(page))
    assert table(page, "answer-claims").rows[0][6].text == words
    assert "<script>alert" not in render_page(page)


def test_tables_of_several_experiments_can_be_filtered(tmp_path: Path):
    one = one_experiment(batch_size=[2, 8])[0]
    both = [one | {"name": n, "learning_rate": rate} for n, rate in (("one", 0.1), ("two", 0.2))]
    page, _ = paged(write(tmp_path / "r", doc(experiment=both), curve))
    assert table(page, "small-batches-degradation").filter_by == 0
    assert table(page, "convergence-times").filter_by == 0


def test_evidence_is_on_the_page_whatever_a_claim_compares(tmp_path: Path):
    rates = [
        {"id": "rates", "kind": "superiority", "a": {"learning_rate": 0.1},
         "b": {"learning_rate": 0.2}, "endpoint": END},
        {"id": "inputs", "kind": "superiority", "a": {"norm": "layer", "input_norm": "raw"},
         "b": {"norm": "none", "input_norm": "raw"}, "endpoint": END, "experiment": "two"},
    ]  # fmt: skip
    rates[0]["experiment"] = "one"
    both = [
        one_experiment(norm=["layer"], learning_rate=[0.1, 0.2])[0] | {"name": "one"},
        one_experiment(norm=["layer", "none"], input_norm=["raw", "global"])[0] | {"name": "two"},
    ]
    page, _ = paged(write(tmp_path / "r", doc(rates, both), curve))
    links = [row[0].link for row in table(page, "answer-claims").rows]
    # no two norms are compared where only the rate varies; both sides have raw inputs in the other
    assert links == ["convergence-one", "pairwise-two"]
    assert set(links) <= {s.anchor for s in sections(page)}
