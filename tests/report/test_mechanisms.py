"""The section on mechanisms: shown where there are probes, and it agrees with the tables."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from normbench.analysis.tables import Analysis
from normbench.report.blocks import Figure, Page, Section, Text
from normbench.report.layout import Layout
from normbench.report.render import render_page
from tests.analysis.made import noise, write
from tests.report import made_study as whole_page
from tests.report.made_study import cells, curve, doc, paged, table

SIZE = {"none": 4.0, "batch": 0.02, "layer": 3.0, "group": 2.0}
END = {"kind": "final", "metric": "probe:effective-smoothness", "goal": "min", "window": 1,
       "failure_score": 50.0}  # fmt: skip
CLAIMS = [{"id": "smooth", "kind": "superiority", "a": {"norm": "batch", "batch_size": 8},
           "b": {"norm": "none", "batch_size": 8}, "endpoint": END}]  # fmt: skip


def measured(run: Any) -> dict[tuple[str, str], list[float]]:
    size = SIZE[run.cell.norm.name] * (1 + noise(run))
    return {
        ("effective-smoothness", ""): [1.0, 2.0, size],
        ("covariate-shift-cosine", ""): [0.5, math.nan, -0.25],
        ("weight-norm", "conv1"): [1.0, 1.5, size],
        ("weight-norm", "fc1"): [1.0, 1.5, 2 * size],
    }


def probed(**changes: Any) -> dict[str, Any]:
    base = doc(CLAIMS, **changes)
    base["defaults"] = base["defaults"] | {"probes": ["weights", "landscape", "covariate-shift"]}
    return base


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> tuple[Page, Analysis]:
    return made(tmp_path_factory.mktemp("r"))


def made(folder: Path, document: dict[str, Any] | None = None) -> tuple[Page, Analysis]:
    results = write(folder, document or probed(), curve, probe=measured)
    with pytest.MonkeyPatch.context() as patch:
        order = list(whole_page.ORDER)
        order.insert(order.index("pairwise"), "mechanisms")
        patch.setattr(whole_page, "ORDER", order)
        return paged(results)


def section(page: Page) -> Section:
    return next(s for s in page.sections if s.anchor == "mechanisms")


def figures(page: Page) -> dict[str, Figure]:
    (part,) = section(page).parts
    return {b.anchor: b for b in part.blocks if isinstance(b, Figure)}


def test_it_stands_between_inputs_and_pairs_and_is_left_out_without_probes(page, tmp_path):
    found, _ = page
    titles = [part.title for part in Layout.of(found).parts]
    assert titles.index("Mechanisms") == titles.index("Pairwise differences and learning rates") - 1
    without, analysis = paged(write(tmp_path, doc(), curve))
    assert "mechanisms" not in [s.anchor for s in without.sections]
    assert analysis["mechanisms"].empty


def test_every_quantity_of_the_whole_model_has_a_figure_with_its_texts(page):
    found, analysis = page
    drawn = figures(found)
    assert list(drawn) == [
        "mechanisms-one-effective-smoothness",
        "mechanisms-one-covariate-shift-cosine",
    ]
    smooth = drawn["mechanisms-one-effective-smoothness"]
    assert smooth.reading.startswith(
        "Effective smoothness constant. Largest change of the gradient"
    )
    assert "Lines are medians over seeds" in smooth.reading
    assert smooth.alt == "Effective smoothness constant over training in one"
    assert "at batch size 2 no normalization (" in smooth.shows
    assert "batch norm (0.0" in smooth.shows
    rows = analysis["mechanisms"]
    last = rows[(rows["probe"] == "effective-smoothness") & (rows["epoch"] == 2)
                & (rows["batch_size"] == 2)].set_index("norm")["median"]  # fmt: skip
    assert f"no normalization ({last['none']:.3g}) is largest" in smooth.shows
    assert f"batch norm ({last['batch']:.3g}) smallest" in smooth.shows
    cosine = drawn["mechanisms-one-covariate-shift-cosine"]
    assert "The axis is logarithmic." in smooth.reading
    assert "logarithmic" not in cosine.reading
    assert "(−0.25)" in cosine.shows
    assert "Not finite: 120 values." in cosine.shows
    header = smooth.csv.splitlines()[0].split(",")
    assert {"norm", "batch_size", "epoch", "median", "low", "high", "runs"} <= set(header)


def test_layers_stand_in_a_table_with_their_last_values(page):
    found, analysis = page
    layers = table(found, "mechanisms-one-layers")
    shown = cells(layers, "quantity", "layer", "norm", "batch size", "median", "runs")
    assert len(shown) == 4 * 3 * 2
    rows = analysis["mechanisms"]
    one = rows[(rows["layer"] == "fc1") & (rows["norm"] == "layer") & (rows["batch_size"] == 8)
               & (rows["epoch"] == 2)].iloc[0]  # fmt: skip
    assert ["norm of the weights", "fc1", "layer", "8", f"{one['median']:.3g}", "10"] in shown


def test_many_layers_are_shown_at_the_ends_of_the_batch_sizes(tmp_path, monkeypatch):
    monkeypatch.setattr("normbench.report.sections.mechanisms.MOST_ROWS", 10)
    found, _ = made(tmp_path)
    layers = table(found, "mechanisms-one-layers")
    assert {row[0] for row in cells(layers, "batch size")} == {"2", "32"}
    assert "batch sizes 2 and 32; for the others see the saved table mechanisms" in layers.caption


def test_the_cost_is_said_as_a_share(page):
    found, _ = page
    (part,) = section(found).parts
    said = " ".join(p for b in part.blocks if isinstance(b, Text) for p in b.paragraphs)
    assert "took 0.5 s of a run on average, 25 % of its time" in said


def test_a_claim_about_a_probe_links_to_the_section_and_reads_well(page):
    found, _ = page
    claims = table(found, "answer-claims")
    assert claims.rows[0][0].link == "mechanisms-one"
    assert "mechanisms-one" in {p.anchor for p in section(found).parts}
    hint = claims.rows[0][0].hint
    assert hint.startswith("The final effective smoothness constant of batch norm is 3.99")
    assert "is 3.99 smaller than that of no normalization at batch size 8 (95 % interval" in hint
    html = render_page(found)
    assert 'href="#mechanisms-one"' in html


def test_a_quantity_of_a_package_that_is_gone_keeps_its_name(tmp_path):
    def foreign(run: Any) -> dict[tuple[str, str], list[float]]:
        return {("their-number", ""): [1.0, 2.0, 3.0]}

    base = doc()
    base["defaults"] = base["defaults"] | {"probes": ["weights"]}
    results = write(tmp_path, base, curve, probe=foreign)
    with pytest.MonkeyPatch.context() as patch:
        order = list(whole_page.ORDER)
        order.insert(order.index("pairwise"), "mechanisms")
        patch.setattr(whole_page, "ORDER", order)
        found, _ = paged(results)
    (only,) = figures(found).values()
    assert only.reading.startswith("Their number. Measured by a probe of another package.")
