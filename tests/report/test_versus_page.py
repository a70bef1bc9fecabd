"""The page that compares two result sets, its seconds of a step, and how often it errs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binom

from normbench.analysis.changes import Change, read_changes
from normbench.analysis.judging import judge_changes
from normbench.analysis.matching import match_cells
from normbench.analysis.versus import compare
from normbench.report.blocks import Figure, Table
from normbench.report.render import render_page, shapes
from normbench.report.versus import names_of, versus_page
from normbench.report.versus_tables import change_table
from normbench.results.load import Results
from normbench.results.timings import write_timings
from tests.report.test_versus import both, curve, lost, small

DEFAULTS = {"dataset": "digits", "model": "mlp", "learning_rate": 0.1, "epochs": 2}
SMALL = {"norm": ["batch", "layer"], "batch_size": [8, 32]}


# -- seconds -----------------------------------------------------------------------------------


def timed(results: Results, seconds: float, *, threads: int = 1, repetitions: int = 12) -> Results:
    rows = [
        {
            "cell_hash": cell, "repetition": r, "device": "cpu", "threads": threads,
            "environment": "e", "measured": "", "memory": 1.0, "memory_kind": "counted",
            **dict.fromkeys(
                ("step_seconds", "forward_seconds", "backward_seconds", "update_seconds"),
                seconds * (1 + 0.01 * (r % 5)),
            ),
        }
        for cell in dict.fromkeys(results.runs["cell_hash"])
        for r in range(repetitions)
    ]  # fmt: skip
    write_timings(results.folder, rows)
    return Results(results.folder)


def test_step_seconds_are_a_ratio_without_a_test(tmp_path):
    a, b, _ = both(tmp_path)
    a, b = timed(a, 0.010), timed(b, 0.012, threads=2)
    found = compare(a, b)
    steps = found.tables["steps"]
    assert steps["ratio"].to_numpy() == pytest.approx([1.2] * 4)
    assert (steps["low"] < 1.2).all()
    assert (steps["high"] > 1.2).all()
    assert set(steps["warnings"]) == {"threads: 1 → 2"}
    assert "p" not in steps.columns
    page = render_page(versus_page(a, b, found))
    assert "not in turns" in page


def test_untimed_results_have_no_such_section(tmp_path):
    a, b, found = both(tmp_path)
    assert found.tables["steps"].empty
    assert "Seconds of a step" not in render_page(versus_page(a, b, found))


def test_few_repetitions_give_a_ratio_without_interval(tmp_path):
    a, b, _ = both(tmp_path)
    steps = compare(timed(a, 0.01, repetitions=3), timed(b, 0.01)).tables["steps"]
    assert steps["low"].isna().all()
    assert steps["ratio"].notna().all()


# -- the page ----------------------------------------------------------------------------------


def texts(table: Table) -> list[list[str]]:
    return [[value.text for value in row] for row in table.rows]


def golden(run):
    """Every second seed a little better, so that all numbers are known."""
    return 0.8 + 0.01 * (run.seed % 2)


def test_the_tables_of_the_page(tmp_path):
    doc = small({"norm": ["batch", "layer"], "batch_size": [8]}, seeds=8, thresholds=[0.5])

    def changed(run):
        return golden(run) - (0.05 + 0.001 * run.seed) * (run.cell.norm.name == "batch")

    a, b, found = both(tmp_path, doc, small(
        {"norm": ["batch", "layer"], "batch_size": [8]}, seeds=8, thresholds=[0.5],
        defaults={"learning_rate": 0.2},
    ), golden, changed)  # fmt: skip
    page = versus_page(a, b, found)
    tables = {
        block.anchor: block for section in page.sections for block in section.blocks
        if isinstance(block, Table)
    }  # fmt: skip
    assert [c.label for c in tables["changes"].columns] == [
        "experiment", "norm", "batch size", "endpoint", "A", "B", "B better by", "verdict",
        "95 % interval, alone", "95 % interval, all", "adjusted p", "seeds",
    ]  # fmt: skip
    assert texts(tables["changes"]) == [
        ["one", "batch", "8", "final error", "19.50", "24.85", "-5.35 points", "worse",
         "-5.57 to -5.13", "-5.59 to -5.11", "0.008", "8"],
        ["one", "batch", "8", "time to accuracy 0.5", "0.57", "0.61", "-0.05 epochs", "worse",
         "-0.05 to -0.04", "-0.05 to -0.04", "0.008", "8"],
        ["one", "layer", "8", "final error", "19.50", "19.50", "0.00 points",
         "no change shown", "", "", "", "8"],
        ["one", "layer", "8", "time to accuracy 0.5", "0.57", "0.57", "0.00 epochs",
         "no change shown", "", "", "", "8"],
    ]  # fmt: skip
    assert texts(tables["matched"]) == [
        ["one", "batch", "8", "learning_rate: 0.1 → 0.2", "8", "8", "worse"],
        ["one", "layer", "8", "learning_rate: 0.1 → 0.2", "8", "8", "no change shown"],
    ]
    assert len(page.lines) <= 5


def test_the_same_results_give_the_same_page(tmp_path):
    doc = small(thresholds=[0.75])
    made = []
    for _ in range(2):
        a, b, found = both(tmp_path, doc, b=curve(1, lost("batch", 8, 0.04)))
        made.append(render_page(versus_page(a, b, found)))
    assert made[0] == made[1]


def test_the_figure_draws_the_clearest_and_says_so(tmp_path):
    product = {"norm": ["none", "batch", "layer", "group"], "batch_size": [2, 4, 8, 16, 32]}
    doc = small(product, thresholds=[0.5, 0.6, 0.75])
    a, b, found = both(tmp_path, doc, b=curve(1, lost("batch", 8, 0.04)))
    figure = next(
        block for section in versus_page(a, b, found).sections for block in section.blocks
        if isinstance(block, Figure)
    )  # fmt: skip
    assert figure.csv.count("\n") == 41
    assert "batch, 8" in figure.csv
    assert "The 40 clearest of 80 are drawn." in figure.reading
    assert figure.svg.startswith("<svg")


def test_hostile_words_do_no_harm(tmp_path):
    words = "<script>alert(1)</script> $\\alpha$ {{ x }} 正規化"
    doc = small(protocol={"title": words})
    a, b, found = both(tmp_path, doc)
    page = render_page(versus_page(a, b, found))
    assert "<script>alert" not in page
    assert "{{ x }}" in page


def test_names_tell_folders_apart():
    assert names_of(Path("/x/results/a"), Path("/x/results/b")) == ("a", "b")
    assert names_of(Path("/v1/results/a"), Path("/v2/results/a")) == (
        "v1/results/a", "v2/results/a",
    )  # fmt: skip
    assert names_of(Path("/x/a"), Path("/x/a")) == ("a", "a")


# -- error rates -------------------------------------------------------------------------------


def drawn(changes: list[Change], rng: np.random.Generator) -> list[Change]:
    """New values for every change, A and B from one distribution, alike within a seed."""
    n = len(changes[0].seeds)
    common = 0.7 * rng.standard_normal(n)
    return [
        replace(change, a=common + rng.standard_normal(n), b=common + rng.standard_normal(n))
        for change in changes
    ]


def false_changes(tmp_path: Path, product, seeds: int, trials: int) -> tuple[int, int]:
    """How often anything at all is called a change, of sets with the same distribution."""
    both(tmp_path, small(product, seeds=seeds))
    matching = match_cells(Results(tmp_path / "a"), Results(tmp_path / "b"))
    changes = [c for match in matching.matches for c in read_changes(match, {})]
    rng = np.random.default_rng(11)
    hits = 0
    for _ in range(trials):
        verdict = judge_changes(drawn(changes, rng), {}, 0.05).table["verdict"]
        hits += bool(verdict.str.startswith(("better", "worse")).any())
    return hits, len(changes)


def test_sets_of_one_distribution_seldom_show_a_change(tmp_path):
    product = {"norm": ["batch", "layer"], "batch_size": [8, 16, 32]}
    trials = 250
    hits, comparisons = false_changes(tmp_path, product, 8, trials)
    assert comparisons == 6
    # uncorrected, 6 comparisons at 5 % would give about a quarter
    assert hits <= binom.ppf(0.999, trials, 0.05)


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [8, 10, 12])
def test_the_family_wise_error_rate_is_kept(tmp_path, seeds):
    product = {"norm": ["none", "batch", "layer", "group"], "batch_size": [2, 8, 32]}
    trials = 1_500
    hits, comparisons = false_changes(tmp_path, product, seeds, trials)
    assert comparisons == 12
    assert binom.ppf(0.001, trials, 0.02) <= hits <= binom.ppf(0.999, trials, 0.05)


@pytest.mark.parametrize("machine", ["x", "elsewhere"])
def test_every_difference_takes_one_line(tmp_path, machine):
    """Long notes made rows so tall that a page showed 8 of 24."""

    def status(run):
        return "diverged" if run.cell.norm.name == "batch" and run.seed == 1 else "finished"

    _, _, found = both(
        tmp_path, small(SMALL, seeds=10), small(SMALL, seeds=9), status=status,
        execution=lambda run: machine,
    )  # fmt: skip
    warnings = found.tables["changes"]["warnings"] + found.tables["changes"]["refusal"]
    assert warnings.str.len().max() > 60
    table = change_table(found)
    place = [column.label for column in table.columns].index("note")
    assert shapes(table)[place] == ""  # on one line
    said = {row[place].hint for row in table.rows if row[place].text}
    assert any("confounded" in text or "fragile" in text for text in said)
