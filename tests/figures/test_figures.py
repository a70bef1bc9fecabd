"""Figures: what they must show, as SVG that a page can hold."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pandas as pd
import pytest

from normbench.figures.batch_size import error_by_batch_size
from normbench.figures.curves import learning_curves
from normbench.figures.render import COLOURS, colours, markers, to_svg, unique_ids
from normbench.figures.times import time_to_threshold

NORMS = ("none", "batch", "layer", "group(groups=4)")
SIZES = (2, 8, 32)


def curves_frame(norms=NORMS, sizes=SIZES) -> pd.DataFrame:
    rows = [
        {"norm": n, "batch_size": b, "metric": "accuracy", "epoch": float(e), "median": 0.2 * e,
         "low": 0.15 * e, "high": 0.25 * e, "runs": 3, "diverged": 0}
        for n in norms for b in sizes for e in range(4)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def final_frame(norms=NORMS, sizes=SIZES) -> pd.DataFrame:
    rows = [
        {"norm": n, "batch_size": b, "seed": s, "error": 0.1 + 0.05 * s / b, "diverged": False}
        for n in norms for b in sizes for s in range(3)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def times_frame(norms=NORMS, sizes=SIZES) -> pd.DataFrame:
    rows = [
        {"norm": n, "batch_size": b, "threshold": 0.8, "restricted_mean": 2.0 + i, "budget": 5.0,
         "reached": 2, "runs": 3, "fraction": 2 / 3}
        for i, n in enumerate(norms) for b in sizes
    ]  # fmt: skip
    return pd.DataFrame(rows)


DRAW = {
    "curves": lambda **k: learning_curves(curves_frame(**k), (0.3, 0.5)),
    "batch size": lambda **k: error_by_batch_size(final_frame(**k), "final validation error"),
    "times": lambda **k: time_to_threshold(times_frame(**k)),
}
AXES = {
    "curves": ["epoch", "validation accuracy", "batch size 2", "batch size 32"],
    "batch size": ["batch size", "final validation error"],
    "times": ["batch size", "epochs to threshold"],
}


def words(svg: str) -> str:
    return " ".join(ElementTree.fromstring(svg).itertext())


@pytest.mark.parametrize("kind", DRAW)
def test_a_figure_names_its_axes_its_sizes_and_all_norms(kind):
    svg = to_svg(DRAW[kind](), "a label")
    text = words(svg)
    for word in (*AXES[kind], *NORMS, *map(str, SIZES)):
        assert word in text


@pytest.mark.parametrize("kind", DRAW)
@pytest.mark.parametrize("sizes", [(8,), (1, 2, 4, 8, 16, 32, 64)])
@pytest.mark.parametrize("norms", [("layer",), NORMS])
def test_a_figure_can_be_drawn_for_any_number_of_norms_and_sizes(kind, sizes, norms):
    text = words(to_svg(DRAW[kind](norms=norms, sizes=sizes), "x"))
    for word in (*norms, *map(str, sizes)):
        assert word in text


@pytest.mark.parametrize("kind", DRAW)
def test_equal_tables_give_equal_text(kind):
    assert to_svg(DRAW[kind](), "x") == to_svg(DRAW[kind](), "x")


def test_a_norm_without_runs_at_the_first_size_is_still_in_the_legend():
    frame = curves_frame()
    frame = frame[(frame["norm"] != "batch") | (frame["batch_size"] > 2)]
    root = ElementTree.fromstring(to_svg(learning_curves(frame, ()), "x"))
    texts = ["".join(node.itertext()).strip() for node in root.iter() if node.tag.endswith("text")]
    assert [t for t in texts if t in NORMS] == list(NORMS)


def test_curves_of_runs_that_all_diverged_can_be_drawn():
    frame = curves_frame()
    dead = (frame["norm"] == "batch") & (frame["epoch"] > 0)
    frame.loc[dead, ["median", "low", "high"]] = np.nan
    frame.loc[dead, "diverged"] = 3
    text = words(to_svg(learning_curves(frame, ()), "x"))
    assert "batch size 2" in text


def test_no_figure_stays_open():
    import matplotlib.pyplot as plt

    before = plt.get_fignums()
    for draw in DRAW.values():
        to_svg(draw(), "x")
    assert plt.get_fignums() == before


def test_drawing_leaves_the_style_of_others_alone():
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    for draw in DRAW.values():
        to_svg(draw(), "x")
    assert dict(mpl.rcParams) == before


@pytest.mark.parametrize("label", ['a "quoted" & <b>bold</b>', "x" * 300, "图 — ünïcode"])
def test_a_label_becomes_the_accessible_name_and_nothing_else(label):
    svg = to_svg(DRAW["times"](), label)
    root = ElementTree.fromstring(svg)
    assert root.get("aria-label") == label
    assert root.get("role") == "img"
    assert "<b>" not in svg


@pytest.mark.parametrize("kind", DRAW)
def test_nothing_is_fetched_and_no_date_is_written(kind):
    svg = to_svg(DRAW[kind](), "x")
    assert "<metadata" not in svg
    assert not re.search(r'(?:href|src)="(?!#)', svg)
    assert re.findall(r"url\((?!#)", svg) == []


def test_ids_of_two_figures_do_not_meet():
    svg = to_svg(DRAW["curves"](), "x")
    one, other = unique_ids(svg, "a"), unique_ids(svg, "b")
    ids = [re.findall(r'\bid="([^"]+)"', text) for text in (one, other)]
    assert ids[0]
    assert not set(ids[0]) & set(ids[1])
    for text, own in zip((one, other), ids, strict=True):
        assert len(own) == len(set(own))
        used = re.findall(r'href="#([^"]+)"', text) + re.findall(r"url\(#([^)]+)\)", text)
        assert used
        assert set(used) <= set(own)


def test_norms_have_colours_and_markers_of_their_own():
    norms = [*COLOURS, "group(groups=4)", "group(groups=2)", "foreign"]
    assert len(set(colours(norms).values())) == len(norms)
    assert colours(["layer"])["layer"] == colours(norms)["layer"]
    assert len(set(markers(norms[:8]).values())) == 8
    many = [f"norm{i}" for i in range(60)]
    assert set(colours(many)) == set(markers(many)) == set(many)
