"""The content of the report: golden cells, sentences that agree with numbers, missing pieces."""

from __future__ import annotations

import dataclasses
import io
import re

import pandas as pd
import pytest

from normbench.analysis.tables import Analysis, analyse
from normbench.report.blocks import CodeBlock, Figure, Overview, Page, Table
from normbench.report.page import build_page, slim
from normbench.results.load import Results
from tests.analysis.made import write
from tests.analysis.test_seconds import timed
from tests.report.made_study import (
    CLAIMS,
    blocks,
    cells,
    curve,
    doc,
    paged,
    sections,
    spoken,
    table,
)
from tests.report.test_advice import answers


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
    first = page.sections[0].blocks[0]
    assert isinstance(first, Overview)
    assert re.search(
        r"At batch sizes? 2( and 8)? [^.;]*layer norm[^.;]*may be best", first.sentence
    )
    assert [row[0].text for row in first.rows] == list(dict.fromkeys(analysis["final"]["norm"]))
    spoken_of = {v.spoken for row in first.rows for v in row if v.mark}
    assert spoken_of <= {"may be best", "worse than another", "not told apart"}
    text = " ".join(answers(page))
    row = analysis["crossover"].set_index("norm").loc["batch"]
    assert (row["worse_up_to"], row["within_from"], row["margin"]) == (8, 32, 0.02)
    assert "Batch norm is worse than layer norm up to batch size 8 and within the declared " in text
    assert "declared 2.0 points of it, or better, at batch size 32 (10 seeds)." in text
    assert "Undecided: same." in text
    assert "would decide" not in " ".join(spoken(page))
    assert page.lines[0] in text


def test_the_lines_that_matter_say_what_the_first_screen_says(whole):
    page, _ = whole
    first = page.sections[0].blocks[0]
    assert page.lines[0] == first.sentence
    assert page.lines[1] == "Claims: 3 supported and 1 inconclusive."
    assert page.lines[2] == "120 runs planned: all of them finished."


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
    code = "\n".join(b.text for b in blocks(page) if isinstance(b, CodeBlock))
    for words in ("normbench run results/", "normbench time", "normbench report", "@software"):
        assert words in code
    held = cells(table(page, "methods-tables"), "table", "what it holds")
    assert all(meaning for _, meaning in held)


def test_the_same_results_give_the_same_page(whole, tmp_path):
    results = write(tmp_path / "r", doc(CLAIMS), curve)
    one, other = (build_page(r, analyse(r)) for r in (results, Results(results.folder)))
    assert one == other


def test_a_table_loses_columns_that_say_nothing(whole):
    found = table(whole[0], "small-batches-degradation")
    assert "setting" not in [c.label for c in found.columns]
    assert found.filter_by is None  # one experiment: nothing to choose
    empty = dataclasses.replace(found, rows=[])
    assert slim(empty).columns == found.columns


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
