"""Figures: what they must show, as SVG that a page can hold."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from normbench.catalog import NORMS as NORM_CATALOG
from normbench.catalog import Entry
from normbench.figures.batch_size import (
    costs_by_batch_size,
    error_by_batch_size,
    error_by_statistics,
)
from normbench.figures.curves import MOST_PANELS, MOST_POINTS, learning_curves, thinned
from normbench.figures.inputs import input_norm_curves
from normbench.figures.look import Look
from normbench.figures.mechanisms import drawn_rows, mechanism_curves
from normbench.figures.profile import profile
from normbench.figures.rates import rate_sensitivity
from normbench.figures.render import colours, markers
from normbench.figures.times import time_to_threshold
from normbench.report.phrases import norm_name

NORMS = ("none", "batch", "layer", "group(groups=4)")
SIZES = (2, 8, 32)


def grid(norms, sizes, **columns):
    """A row per norm and size, with columns that depend on their places i and j."""
    return pd.DataFrame(
        [
            {"experiment": "one", "setting": "", "norm": n, "batch_size": b, "metric": "accuracy"}
            | {k: v(i, j) for k, v in columns.items()}
            for i, n in enumerate(norms) for j, b in enumerate(sizes)
        ]
    )  # fmt: skip


def repeated(frame, **columns):
    """Every row as often as the columns' values are long."""
    keys = list(columns)
    parts = [frame.assign(**dict(zip(keys, v, strict=True))) for v in zip(*columns.values(),
                                                                          strict=True)]  # fmt: skip
    return pd.concat(parts, ignore_index=True)


def curves_frame(norms=NORMS, sizes=SIZES, evaluations=4) -> pd.DataFrame:
    x = np.arange(float(evaluations))
    base = grid(norms, sizes, runs=lambda i, j: 3, diverged=lambda i, j: 0)
    return repeated(base, epoch=x, median=0.2 * x, low=0.15 * x, high=0.25 * x)


def final_frame(norms=NORMS, sizes=SIZES) -> pd.DataFrame:
    base = grid(norms, sizes)
    return repeated(base, seed=[0, 1, 2], error=[0.1, 0.12, 0.2], diverged=[False, False, True])


def times_frames(norms=NORMS, sizes=SIZES) -> tuple[pd.DataFrame, pd.DataFrame]:
    times = grid(
        norms, sizes, threshold=lambda i, j: 0.8, restricted_mean=lambda i, j: 2.0 + i,
        low=lambda i, j: 1.5, high=lambda i, j: np.nan, budget=lambda i, j: 6.0,
        seconds=lambda i, j: 0.2 * (j + 1), seconds_low=lambda i, j: 0.1,
        seconds_high=lambda i, j: 0.9, reached=lambda i, j: 2, runs=lambda i, j: 3,
    )  # fmt: skip
    runs = repeated(
        grid(norms, sizes), seed=[0, 1, 2], time=[1.0, 3.0, 6.0], threshold=[0.8] * 3,
        reached=[True, True, False], diverged=[False, False, True],
    )  # fmt: skip
    return times, runs


def draw_times(look, label, seconds=False, **axes):
    return time_to_threshold(*times_frames(**axes), look, label, seconds=seconds)


def draw_profile(look, label, norms=NORMS, sizes=SIZES):
    base = grid(norms, sizes, reference=lambda i, j: "layer")
    table = repeated(base, threshold=[0.5, 0.7], saved=[0.1, -1], low=[-1, -2], high=[1, 0.5])
    return profile(table, "accuracy", look, label)


def draw_statistics(look, label, norms=NORMS, sizes=SIZES):
    own = final_frame(norms[:1], sizes)
    kinds = [own.assign(evaluation=k) for k in ("running", "recomputed", "batch")]
    final = final_frame(norms, sizes)
    return error_by_statistics(pd.concat(kinds), final, norms[-1], "error", look, label)


def draw_costs(look, label, norms=NORMS, sizes=SIZES):
    times = {f"step_{k}": (lambda i, j, v=v: v * (i + j)) for k, v in
             (("seconds", 1e-3), ("low", 0.9e-3), ("high", np.nan))}  # fmt: skip
    return costs_by_batch_size(grid(norms, sizes, memory=lambda i, j: i, **times), look, label)


def draw_rates(look, label, norms=NORMS, sizes=SIZES):
    base = grid(norms, sizes, cell_key=lambda i, j: f"{i}-{j}")
    table = repeated(base, learning_rate=[0.01, 0.1, 1.0], mean=[0.3, 0.2, np.nan],
                     stable=[False, True, False], chosen=[False, True, False])  # fmt: skip
    return rate_sensitivity(table, "validation error", look, label)


def draw_inputs(look, label, norms=NORMS, sizes=SIZES):
    curves = curves_frame(norms, sizes[:1])
    both = pd.concat([curves.assign(input_norm=k) for k in ("raw", "global")])
    return input_norm_curves(both, ["raw", "global"], (0.5,), look, label)


def mechanisms_frame(norms=NORMS, sizes=SIZES, scale=1.0) -> pd.DataFrame:
    frame = curves_frame(norms, sizes).assign(probe="curvature", layer="")
    return frame.assign(**{k: scale * (frame[k] + 0.01) for k in ("median", "low", "high")})


def draw_mechanisms(look, label, norms=NORMS, sizes=SIZES):
    drawn = drawn_rows(mechanisms_frame(norms, sizes))
    return mechanism_curves(drawn, look, label, up="top Hessian eigenvalue", logarithmic=True)


DRAW = {
    "curves": lambda look, label, **k: learning_curves(curves_frame(**k), (0.3, 0.5), look, label),
    "batch size": lambda look, label, **k: error_by_batch_size(
        final_frame(**k), "final validation error", look, label
    ),
    "times": draw_times,
    "seconds": lambda look, label, **k: draw_times(look, label, seconds=True, **k),
    "profile": draw_profile,
    "statistics": draw_statistics,
    "costs": draw_costs,
    "rates": draw_rates,
    "inputs": draw_inputs,
    "mechanisms": draw_mechanisms,
}
AXES = {
    "curves": ["epochs", "validation accuracy"],
    "batch size": ["batch size", "final validation error"],
    "times": ["batch size", "epochs to threshold", "2/3"],
    "seconds": ["batch size", "seconds to threshold"],
    "profile": ["threshold of validation accuracy", "epochs saved against layer"],
    "statistics": ["recomputed statistics", "batch size"],
    "costs": ["milliseconds a step", "memory in MiB"],
    "rates": ["learning rate", "validation error", "0.01"],
    "inputs": ["raw", "global", "epochs"],
    "mechanisms": ["top Hessian eigenvalue", "epochs", "0.05"],
}


def draw(kind, label="a label", norms=NORMS, sizes=SIZES):
    return DRAW[kind](Look.of(norms), label, norms=norms, sizes=sizes)


def words(svg: str) -> str:
    return " ".join(ElementTree.fromstring(svg).itertext())


@pytest.mark.parametrize("kind", DRAW)
def test_a_figure_names_its_axes_its_sizes_and_its_norms(kind):
    text = words(draw(kind))
    norms = (NORMS[0], NORMS[-1]) if kind == "statistics" else NORMS
    for word in (*AXES[kind], *norms, *(() if kind == "inputs" else map(str, SIZES))):
        assert word in text


@pytest.mark.parametrize("kind", DRAW)
@pytest.mark.parametrize("sizes", [(8,), (1, 2, 4, 8, 16, 32, 64)])
@pytest.mark.parametrize("norms", [("layer",), NORMS])
def test_a_figure_stays_within_its_box_and_holds_numbers_only(kind, sizes, norms):
    svg = draw(kind, norms=norms, sizes=sizes)
    root = ElementTree.fromstring(svg)
    _, _, width, height = map(float, root.get("viewBox").split())
    assert not re.search(r"\bnan\b|\binf\b|None", svg)
    for path in root.iter():
        starts = re.findall(r"M(-?[\d.]+) (-?[\d.]+)", path.get("d") or "")
        places = [(float(x), float(y)) for x, y in starts]
        places += [(float(path.get("x")), float(path.get("y")))] if path.get("x") else []
        assert all(-1 <= x <= width + 1 and -1 <= y <= height + 1 for x, y in places)


@pytest.mark.parametrize("kind", DRAW)
def test_equal_tables_give_equal_text_without_ids_or_addresses(kind):
    svg = draw(kind)
    assert svg == draw(kind)
    assert not re.search(r"\bid=|href|url\(|<script|<style", svg)


@pytest.mark.parametrize("label", ['a "quoted" & <b>bold</b>', "x" * 300, "图 — ünïcode"])
@pytest.mark.parametrize("kind", ["curves", "times"])
def test_words_of_others_do_no_harm(kind, label):
    norms = ("layer", label)
    root = ElementTree.fromstring(draw(kind, label=label, norms=norms))
    assert root.get("aria-label") == label
    assert label in "".join(root.itertext())
    assert "b" not in {node.tag for node in root.iter()}


def test_a_norm_without_runs_at_the_first_size_is_still_in_the_legend():
    frame = curves_frame()
    frame = frame[(frame["norm"] != "batch") | (frame["batch_size"] > 2)]
    root = ElementTree.fromstring(learning_curves(frame, (), Look.of(NORMS), "x"))
    texts = ["".join(node.itertext()).strip() for node in root.iter() if node.tag.endswith("text")]
    assert sorted(t for t in texts if t in NORMS) == sorted(NORMS)


def test_further_divergence_is_marked_once_and_all_diverged_is_drawn():
    frame = curves_frame()
    dead = (frame["norm"] == "batch") & (frame["epoch"] > 0)
    frame.loc[dead, ["median", "low", "high"]] = np.nan
    frame.loc[dead, "diverged"] = 3
    svg = learning_curves(frame, (), Look.of(NORMS), "x")
    crosses = re.findall(r'<path d="(M[^"]*m-7 0l7 -7)" fill="none"', svg)
    assert len(crosses) == len(SIZES)  # at the first evaluation after it, in every panel
    frame.loc[frame["epoch"] >= 0, ["median", "low", "high"]] = np.nan
    assert "batch size 2" in words(learning_curves(frame, (0.5,), Look.of(NORMS), "x"))


def test_long_curves_and_many_sizes_are_thinned():
    frame = curves_frame(sizes=range(2, 30), evaluations=500)
    drawn = thinned(frame)
    assert drawn["batch_size"].nunique() == MOST_PANELS
    assert {2, 29} <= set(drawn["batch_size"])
    lines = drawn.groupby(["norm", "batch_size"])
    assert lines.size().max() <= MOST_POINTS
    assert (lines["epoch"].min() == 0).all()
    assert (lines["epoch"].max() == 499).all()


def test_what_may_be_negative_or_nought_is_not_drawn_on_a_logarithmic_axis():
    for scale, positive in ((1.0, True), (0.0, False), (-1.0, False)):
        frame = drawn_rows(mechanisms_frame(scale=scale))
        log, plain = (
            mechanism_curves(frame, Look.of(NORMS), "x", up="y", logarithmic=asked)
            for asked in (True, False)
        )
        assert (log != plain) == positive
    frame.loc[:, ["median", "low", "high"]] = np.nan
    assert "epochs" in words(mechanism_curves(frame, Look.of(NORMS), "x", up="y", logarithmic=True))


def test_a_run_is_drawn_as_what_became_of_it():
    svg = time_to_threshold(*times_frames(("layer",), (8,)), Look.of(["layer"]), "x")
    dots = re.findall(r'<path d="([^"]*)" stroke="#0072b2" stroke-width="3"', svg)
    assert len(dots) == 1
    assert dots[0].count("h0") == 2  # two reached it, the third diverged
    assert len(re.findall(r'l4 4m-4 0l4 -4" fill="none"', svg)) == 1


def test_norms_have_colours_and_markers_of_their_own_throughout():
    named = [name for name, entry in NORM_CATALOG.items() if entry.colour]
    assert len(named) >= 6
    norms = [*named, "group(groups=4)", "group(groups=2)", "foreign"]
    look = Look.of(norms)
    assert len(set(look.colour.values())) == len(norms)
    assert look.colour["layer"] == colours(["layer"])["layer"]
    assert len(set(markers(norms[:8]).values())) == 8
    many = [f"norm{i}" for i in range(60)]
    assert set(Look.of(many).colour) == set(Look.of(many).marker) == set(many)


def test_a_new_norm_brings_its_colour_and_its_name(monkeypatch):
    made = Entry("x:y", "made for this test", title="the made norm", colour="#123456")
    monkeypatch.setitem(NORM_CATALOG._entries, "made", made)
    monkeypatch.setitem(NORM_CATALOG._entries, "copy", replace(made, title=""))
    found = colours(["copy", "made", "layer", "made(eps=1)", "other"])
    assert found["copy"] == "#123456"
    assert found["layer"] == NORM_CATALOG["layer"].colour
    assert len(set(found.values())) == 5  # what would have another's colour gets its own
    assert norm_name("made") == "the made norm"
    assert norm_name("made(eps=1)") == "the made norm (eps 1)"
    assert norm_name("copy") == "copy norm"
