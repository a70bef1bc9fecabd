"""From linear regressions to the part of the report about the scale of features."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from normbench.analysis.scale import importance
from normbench.analysis.tables import Analysis, analyse
from normbench.datasets.training_split import TrainingSplit
from normbench.figures.scale import contour, descent_paths, steps_by_condition
from normbench.report.blocks import Figure, Page, Section, Table, Text
from normbench.report.page import build_page
from normbench.report.render import render_page
from normbench.results.load import Results
from normbench.stats.quadratic import squared_error
from tests.support import sweep

STUDY = """\
[protocol]
name = "scale"
seeds = 6
metric = "loss"
window = 1
[defaults]
dataset = "houses"
model = "linear"
norm = "none"
optimizer = { name = "sgd", momentum = 0.0 }
lr_scaling = "curvature"
learning_rate = 1.8
batch_size = 300
budget_steps = 30
evaluations = 30
probes = ["excess-loss", "linear-weights", "update-share"]
[[experiment]]
name = "valley"
title = "The valley"
[experiment.product]
input_norm = ["raw", "per-channel"]
[[claim]]
id = "faster"
kind = "superiority"
a = { input_norm = "per-channel" }
b = { input_norm = "raw" }
[claim.endpoint]
kind = "time"
metric = "probe:excess-loss"
goal = "min"
threshold = 0.05
window = 1
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Page, Analysis]:
    folder: Path = tmp_path_factory.mktemp("scale")
    summary = sweep(STUDY, folder, engine="auto")
    assert summary.by_status == {"finished": 12}
    results = Results(folder)
    analysis = analyse(results)
    return build_page(results, analysis), analysis


def part(page: Page) -> Section:
    scale = whole(page)
    return next(p for p in scale.parts if p.anchor == "scale-valley")


def whole(page: Page) -> Section:
    inputs = next(s for s in page.sections if s.anchor == "inputs")
    return next(p for p in inputs.parts if p.anchor == "scale")


def test_measured_steps_are_the_predicted_ones(made: tuple[Page, Analysis]) -> None:
    table = made[1]["scale"].set_index("input_norm")
    assert set(table["tolerance"]) == {0.05}  # as the claim says
    assert table.loc["raw", "condition"] > 1000 > 20 > table.loc["per-channel", "condition"]
    assert (table["deviation"] < 0.01).all()
    assert table.loc["per-channel", "reached"] == table.loc["per-channel", "runs"] == 6
    assert table.loc["raw", "reached"] == 0
    assert table.loc["raw", "measured"] == table.loc["raw", "budget"] == 30
    assert table.loc["raw", "predicted"] > 1000
    whole = table.loc["per-channel"]
    assert whole["predicted"] - 1 <= whole["measured"] <= whole["predicted"]


def test_shares_are_those_of_a_step_against_the_standardized_coefficients(
    made: tuple[Page, Analysis],
) -> None:
    table = made[1]["scale_shares"].set_index(["input_norm", "name"])
    assert table["share"].groupby("input_norm").sum().to_numpy() == pytest.approx(1)
    assert table.loc[("raw", "area"), "share"] > 0.99
    for name in ("area", "bedrooms"):  # whatever the unit, a feature matters as much
        raw, scaled = (table.loc[(kind, name), "importance"] for kind in ("raw", "per-channel"))
        assert raw == pytest.approx(scaled, rel=1e-4)


def test_importance_is_that_of_coefficients_per_deviation() -> None:
    rng = np.random.default_rng(1)
    x = rng.standard_normal((4000, 2)) * [1.0, 100.0] + [0.0, 50.0]
    y = 3.0 * x[:, 0] + 0.04 * x[:, 1]
    data = TrainingSplit(x, y, ("a", "b"))
    assert importance(data, squared_error(x, y)) == pytest.approx([9 / 25, 16 / 25], abs=0.02)


def test_the_claim_about_steps_has_a_verdict(made: tuple[Page, Analysis]) -> None:
    row = made[1]["claims"].iloc[0]
    assert row["verdict"] == "supported"
    assert row["n"] == 6


def test_the_part_has_figures_and_tables_that_agree_with_the_analysis(
    made: tuple[Page, Analysis],
) -> None:
    page, analysis = made
    found = part(page)
    assert [type(block) for block in found.blocks] == [Text, Figure, Table, Table]
    assert [type(block) for block in whole(page).blocks] == [Text, Figure]
    text = " ".join(found.blocks[0].paragraphs)  # type: ignore[union-attr]
    steps = analysis["scale"].set_index("input_norm").loc["per-channel", "measured"]
    assert f"{steps:,.1f} steps with per-channel inputs" in text
    assert "more than 30 steps in 6 of 6 runs with raw inputs" in text
    assert "along area" in text
    for block in [*whole(page).blocks, *found.blocks]:
        if isinstance(block, Figure):
            assert all([block.reading, block.shows, block.alt, block.csv])
            ElementTree.fromstring(block.svg)
        words = [block.shows, block.reading] if isinstance(block, Figure) else []
        for said in [*words, text]:
            assert not re.search(r"\bnan\b|\binf\b|None|  |\.\.", said), said
    assert "Scale of the features" in render_page(page)


def test_a_path_is_drawn_where_every_step_is_evaluated(made: tuple[Page, Analysis]) -> None:
    analysis = made[1]
    paths, contours = analysis["scale_paths"], analysis["scale_contours"]
    assert list(contours["input_norm"]) == ["raw", "per-channel"]
    for _, path in paths.groupby("input_norm"):
        assert list(path["step"]) == list(range(31))
    svg = descent_paths(paths, contours, "a label")
    words = " ".join(ElementTree.fromstring(svg).itertext())
    for word in ("raw inputs", "per-channel inputs", "weight of area", "weight of bedrooms"):
        assert word in words
    assert svg == descent_paths(paths, contours, "a label")
    assert not re.search(r"\bnan\b|\binf\b|None", svg)


@pytest.mark.parametrize(("low", "high"), [(-9.0, 9.0), (-1.2, 0.3)])
def test_a_contour_is_where_the_loss_is_level(low: float, high: float) -> None:
    row = {"x1": 2.0, "x2": -1.0, "h11": 5.0, "h12": 1.0, "h22": 0.5}
    h = np.array([[5.0, 1.0], [1.0, 0.5]])
    left, right = contour(row, 0.7, low, high)
    for xs, ys in (left, right):
        away = np.stack([xs - 2.0, ys + 1.0])
        assert 0.5 * np.einsum("in,ij,jn->n", away, h, away) == pytest.approx(0.7)
        assert (ys >= low - 1e-9).all()
        assert (ys <= high + 1e-9).all()
    assert (left[0] <= right[0] + 1e-9).all()
    closed = left[0][[0, -1]] == pytest.approx(right[0][[0, -1]])
    assert closed == (low == -9.0)
    assert contour(row, 1e-3, 5.0, 9.0) == []


def test_steps_are_drawn_by_condition_number_and_unreached_ones_hollow() -> None:
    base = {"setting": "", "dataset": "houses", "tolerance": 0.01, "rule": 9.0, "low": 3.0,
            "high": 4.0, "budget": 100.0, "runs": 6}  # fmt: skip
    table = pd.DataFrame(
        [
            base | {"input_norm": "raw", "condition": 1e5, "measured": 100.0, "predicted": 2e5,
                    "reached": 0},
            base | {"input_norm": "per-channel", "condition": 5.0, "measured": 3.5,
                    "predicted": 4.0, "reached": 6},
            base | {"input_norm": "raw", "condition": math.inf, "measured": 3.5,
                    "predicted": math.inf, "reached": 6},
        ]
    )  # fmt: skip
    svg = steps_by_condition(table, "a label")
    words = " ".join(ElementTree.fromstring(svg).itertext())
    assert "condition number" in words
    assert "10⁵" in words
    assert not re.search(r"\bnan\b|\binf\b|None", svg)
    assert len(re.findall(r'fill="none" stroke="#d55e00" stroke-width="1.1"', svg)) == 2


def test_studies_without_linear_regressions_have_empty_tables(tmp_path: Path) -> None:
    text = STUDY.replace('probes = ["excess-loss", "linear-weights", "update-share"]', "")
    text = text[: text.index("[[claim]]")].replace("seeds = 6", "seeds = 1")
    sweep(text, tmp_path)
    results = Results(tmp_path)
    analysis = analyse(results)
    assert all(analysis[name].empty for name in analysis.tables if name.startswith("scale"))
    page = build_page(results, analysis)
    anchors = [p.anchor for s in page.sections for p in s.parts]
    assert not any(a.startswith("scale-") for a in anchors)


def test_a_diverged_regression_counts_with_the_labels_variance(tmp_path: Path) -> None:
    text = STUDY[: STUDY.index("[[claim]]")].replace("learning_rate = 1.8", "learning_rate = 1e5")
    summary = sweep(text.replace("seeds = 6", "seeds = 2"), tmp_path)
    assert summary.by_status == {"diverged": 4}
    final = analyse(Results(tmp_path))["final"]
    assert final["error"].to_numpy() == pytest.approx(1.0, abs=1e-5)  # of standardized labels
