"""The content of the report: golden cells, sentences that agree with numbers, missing pieces."""

from __future__ import annotations

import dataclasses
import io
import re
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from normbench.analysis.tables import Analysis, analyse
from normbench.report.blocks import Block, Code, Figure, Items, Page, Section, Table, Text
from normbench.report.page import build_page, slim
from normbench.report.render import render_page
from normbench.results.load import Results
from tests.analysis.made import document, noise, write
from tests.analysis.test_seconds import timed

ORDER = ["answer", "completeness", "convergence", "small-batches", "pairwise", "cost", "methods"]
LEVEL = {"none": 0.80, "batch": 0.94, "layer": 0.90, "group": 0.898}
END = {"kind": "final", "metric": "val_error", "window": 1, "failure_score": 0.9}
CLAIMS = [
    {"id": "small", "kind": "interaction", "a": "layer", "b": "batch", "endpoint": END,
     "chapter": "Batch norm breaks.", "expect": "supported", "text": "It does."},
    {"id": "same", "kind": "superiority", "a": {"norm": "layer", "batch_size": 32},
     "b": {"norm": "group", "batch_size": 32}, "endpoint": END},
    {"id": "flat", "kind": "equivalence", "a": "layer", "reference": {"batch_size": 32},
     "margin": 0.02, "endpoint": END},
    {"id": "fast", "kind": "superiority", "a": {"norm": "layer", "batch_size": 8},
     "b": {"norm": "none", "batch_size": 8},
     "endpoint": {"kind": "time", "metric": "val_accuracy", "threshold": 0.5, "window": 1}},
]  # fmt: skip


def accuracy(run) -> float:
    loss = 0.4 / run.cell.batch_size if run.cell.norm.name == "batch" else 0.0
    return LEVEL[run.cell.norm.name] - loss + noise(run)


def curve(run) -> list[float]:
    top = accuracy(run)
    return [0.1, 0.1 + (top - 0.1) * 0.7, top]


def doc(claims=(), experiment=None, **header):
    base = {"name": "made", "title": "Made", "seeds": 10, "window": 1, "thresholds": [0.5],
            "reference": "layer"}  # fmt: skip
    changes = {"protocol": base | header}
    if claims:
        changes["claim"] = list(claims)
    if experiment is not None:
        changes["experiment"] = experiment
    return document(**changes)


def paged(results: Results) -> tuple[Page, Analysis]:
    analysis = analyse(results)
    page = build_page(results, analysis)
    check(page)
    return page, analysis


def sections(part: Page | Section) -> Iterator[Section]:
    for section in part.sections if isinstance(part, Page) else part.parts:
        yield section
        yield from sections(section)


def blocks(page: Page) -> Iterator[Block]:
    for section in sections(page):
        yield from section.blocks


def spoken(page: Page) -> Iterator[str]:
    for block in blocks(page):
        if isinstance(block, Text):
            yield from block.paragraphs
        elif isinstance(block, Items):
            yield from (i if isinstance(i, str) else i[1] for i in block.items)
        elif isinstance(block, Figure):
            yield from (block.shows, block.reading, block.alt)
        elif isinstance(block, Table):
            yield block.caption
            yield from (value.text for row in block.rows for value in row)


def check(page: Page) -> None:
    """What every page must be, whatever it is about."""
    named = [s.anchor for s in sections(page)]
    named += [b.anchor for b in blocks(page) if isinstance(b, Table | Figure)]
    assert len(named) == len(set(named))
    assert [s.anchor for s in page.sections if s.anchor != "inputs"] == ORDER
    assert 1 <= len(page.lines) <= 5
    for block in blocks(page):
        if isinstance(block, Table):
            assert {len(row) for row in block.rows} <= {len(block.columns)}
            p = [c.label for c in block.columns if c.label in ("p", "adjusted p")]
            labels = " ".join(c.label for c in block.columns)
            assert not p or ("interval" in labels and "seeds" in labels)
        if isinstance(block, Figure):
            assert all([block.reading, block.shows, block.alt, block.csv])
    for words in [*spoken(page), *page.lines]:
        assert words == words.strip() or not words
        assert not re.search(r"\bnan\b|\binf\b|None|  |\.\.|\( ?\)|-\d+\.\d+ to", words), words
    assert render_page(page) == render_page(page)


def table(page: Page, anchor: str) -> Table:
    return next(b for b in blocks(page) if isinstance(b, Table) and b.anchor == anchor)


def cells(found: Table, *labels: str) -> list[list[str]]:
    places = [[c.label for c in found.columns].index(label) for label in labels]
    return [[row[i].text for i in places] for row in found.rows]


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> tuple[Page, Analysis]:
    results = write(tmp_path_factory.mktemp("r"), doc(CLAIMS), curve)
    return paged(timed(results, lambda norm, batch, i: 1e-3 * (1 + 0.01 * i)))


# -- golden ------------------------------------------------------------------------------------


def test_the_claims_come_first_with_all_that_they_rest_on(whole):
    page, analysis = whole
    found = table(page, "answer-claims")
    assert [c.label for c in found.columns] == [
        "claim", "verdict", "effect", "95 % interval", "adjusted p", "seeds",
        "what the chapter says",
    ]  # fmt: skip
    verdicts = ["supported", "inconclusive", "supported", "supported"]
    names = ["small", "same", "flat", "fast"]
    assert cells(found, "claim", "verdict") == [list(p) for p in zip(names, verdicts, strict=True)]
    row = analysis["claims"].iloc[0]
    assert found.rows[0][2].text == f"+{100 * row['estimate']:.1f} points"
    assert found.rows[0][2].sort == row["estimate"]
    low, high = (f"+{100 * row[k]:.1f}" for k in ("low", "high"))
    assert found.rows[0][3].text == f"{low} to {high}"
    assert found.rows[0][5].text == "10"
    assert found.rows[0][6].text == "Batch norm breaks."
    assert found.rows[0][1].mark == "supported"
    assert "as expected" in found.rows[0][1].hint
    ends = {s.anchor for s in sections(page)} | {
        b.anchor for b in blocks(page) if isinstance(b, Table | Figure)
    }
    links = [row[0].link for row in found.rows]
    assert links == ["small-batches-one", "pairwise-one", "small-batches-one", "convergence-one"]
    assert set(links) <= ends


def test_the_first_paragraph_is_the_answer(whole):
    page, analysis = whole
    lead = page.sections[0].blocks[0]
    assert isinstance(lead, Text)
    assert lead.lead
    assert len(lead.paragraphs) == 1
    text = lead.paragraphs[0]
    assert re.search(r"At batch sizes? 2(,| and| use)[^.]*layer norm", text)
    assert re.search(r"batch norm (is|are) worse|normalization and batch norm are worse", text)
    row = analysis["crossover"].set_index("norm").loc["batch"]
    assert 2 < row["estimate"] < 32
    shown = f"{row['estimate']:.0f}" if row["estimate"] >= 10 else f"{row['estimate']:.1f}"
    assert f"no longer worse than layer norm, is {shown} (95 % interval" in text
    claim = analysis["claims"].set_index("claim").loc["same"]
    needed = claim["seeds_to_decide"]
    more = f"about {needed:.0f} seeds ({needed - 10:.0f} more than now)"
    assert f"the seeds that would decide the effect seen: same ({more})" in text
    assert page.lines[1] in text


def test_the_lines_that_matter_are_four(whole):
    page, _ = whole
    assert len(page.lines) == 4
    assert page.lines[2] == "Claims: 3 supported and 1 inconclusive."
    assert page.lines[3] == "120 runs planned: all of them finished."


def test_completeness_counts(whole):
    found = table(whole[0], "completeness-experiments")
    assert [v.text for v in found.rows[0]] == ["one", "120", "120", "0", "0", "0", "0"]


def test_times_are_in_every_unit(whole):
    page, analysis = whole
    found = table(page, "convergence-times")
    row = analysis["times"].iloc[0]
    labels = ["norm", "batch size", "threshold", "reached", "epochs", "samples", "seconds"]
    assert cells(found, *labels)[0] == [
        "none", "2", "0.5", "10 of 10", f"{row['restricted_mean']:.2f}",
        f"{row['samples']:,.0f}", f"{row['seconds']:.3g}",
    ]  # fmt: skip


def test_the_matrix_holds_effect_interval_and_adjusted_p(whole):
    page, analysis = whole
    found = table(page, "pairwise-one-1")
    assert [c.label for c in found.columns] == [
        "norm", "batch size", "against batch", "against layer", "against group",
    ]  # fmt: skip
    pairs = analysis["pairs"].set_index(["batch_size", "norm", "other"])
    row = pairs.loc[(2, "none", "layer")]
    effect, low, high = (f"−{-100 * row[k]:.1f}" for k in ("estimate", "low", "high"))
    shown = next(r for r in found.rows if (r[0].text, r[1].text) == ("none", "2"))[3]
    assert shown.text.startswith(f"{effect} ({low} to {high}), p = ")
    assert shown.mark == "refuted"
    assert "all pairs at once" in shown.hint


def test_sentences_on_degradation_and_invariance_agree_with_the_tables(whole):
    page, analysis = whole
    row = analysis["degradation"].set_index("norm").loc["batch"]
    said = f"Batch norm loses {100 * row['estimate']:.1f} points more than layer norm"
    assert any(said in text for text in spoken(page))
    bound = analysis["invariance"].set_index("norm").loc["layer", "bound"]
    rows = cells(table(page, "small-batches-bounds"), "norm", "stays within")
    assert ["layer", f"±{100 * bound:.1f}"] in rows
    assert cells(table(page, "small-batches-invariance"), "claim", "verdict") == [
        ["flat", "supported"]
    ]


def test_costs_and_methods_are_there(whole):
    page, _ = whole
    assert cells(table(page, "cost-steps"), "norm", "ratio")[0] == ["none", "1.00"]
    assert cells(table(page, "methods-families"), "hypotheses")[0] == ["4"]
    code = "\n".join(b.text for b in blocks(page) if isinstance(b, Code))
    for words in ("normbench run results/", "normbench time", "normbench report", "@software"):
        assert words in code
    held = cells(table(page, "methods-tables"), "table", "what it holds")
    assert all(meaning for _, meaning in held)


def test_the_same_results_give_the_same_page(whole, tmp_path):
    results = write(tmp_path / "r", doc(CLAIMS), curve)
    one, other = (build_page(r, analyse(r)) for r in (results, Results(results.folder)))
    assert one == other


# -- missing pieces ----------------------------------------------------------------------------


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
        "one seed": "no test is possible: 1 seed",
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


def test_a_table_loses_columns_that_say_nothing(whole):
    found = table(whole[0], "small-batches-degradation")
    assert "setting" not in [c.label for c in found.columns]
    assert found.filter_by is None  # one experiment: nothing to choose
    empty = dataclasses.replace(found, rows=[])
    assert slim(empty).columns == found.columns


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


def test_a_figure_carries_all_that_it_draws(whole):
    figures = {b.anchor: b for b in blocks(whole[0]) if isinstance(b, Figure)}
    for anchor, (mean, low, high) in {
        "convergence-one-times": ("restricted_mean", "low", "high"),
        "convergence-one-seconds": ("seconds", "seconds_low", "seconds_high"),
    }.items():
        drawn = pd.read_csv(io.StringIO(figures[anchor].csv))
        assert len(drawn) == 120 + 12  # a row per seed and one per cell
        cells_of = whole[1]["times"].set_index(["norm", "batch_size"])
        for key, own in drawn.groupby(["norm", "batch_size"]):
            cell, seeds = cells_of.loc[key], own[own["seed"] != "mean"]
            assert seeds["time"].mean() == pytest.approx(cell[mean], rel=1e-4)
            found = own.loc[own["seed"] == "mean", ["time", "low", "high"]].to_numpy(float)
            assert found == pytest.approx(cell[[mean, low, high]].to_numpy(float)[None], rel=1e-4)
