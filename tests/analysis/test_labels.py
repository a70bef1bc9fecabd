"""Labels that tell settings apart, in figures and tables alike."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from normbench.analysis.claims import claim_table
from normbench.analysis.labels import fitted, labels, values
from normbench.analysis.settings import Level, Setting
from normbench.analysis.tables import analyse
from normbench.protocol.load import parse
from normbench.report.html import write_report
from tests.analysis.made import document, noise, write

TEXT = st.text("abc(,)= ", min_size=1, max_size=30)


def component(name: str, **params: Any) -> Level:
    own = tuple((key, str(value)) for key, value in params.items())
    shown = ", ".join(f"{key}={value}" for key, value in own)
    return Level(f"{name}({shown})" if shown else name, name, own)


def setting(**axes: Any) -> Setting:
    levels = ((a, v if isinstance(v, Level) else Level(str(v))) for a, v in axes.items())
    return Setting(tuple(levels))


def test_a_setting_has_its_values_and_its_text() -> None:
    found = setting(epochs=5, input_norm="raw", dataset=component("houses", area_unit="are", n=3))
    assert found.text == "epochs=5, input_norm=raw, dataset=houses(area_unit=are, n=3)"
    assert values(found) == "5, raw, houses(area_unit=are, n=3)"
    assert (found.value("input_norm"), found.value("init")) == ("raw", "")
    assert found.without("input_norm") == setting(
        epochs=5, dataset=component("houses", area_unit="are", n=3)
    )
    assert not Setting()
    assert not Setting().text


@pytest.mark.parametrize(
    ("settings", "found"),
    [
        ([setting(optimizer=component("adamw", weight_decay=d)) for d in (0.0001, 0.0005)],
         ["adamw(weight_decay=0.0001)", "adamw(weight_decay=0.0005)"]),
        ([setting(epochs=5, init="he"), setting(epochs=9, init="he")], ["5", "9"]),
        ([setting(norm=component("group", groups=2, eps=1)),
          setting(norm=component("group", groups=4, eps=1))],
         ["group(groups=2)", "group(groups=4)"]),
        ([setting(norm=component("group")), setting(norm=component("group", groups=4))],
         ["group", "group(groups=4)"]),
        ([setting(model=component("mlp", width=16)), setting(model=component("cnn", width=8))],
         ["mlp", "cnn"]),
        ([setting(a="x", b="y"), setting(a="y", b="x")], ["x, y", "y, x"]),
        ([setting(epochs=5)], ["5"]),
        ([Setting()], [""]),
    ],
)  # fmt: skip
def test_labels_have_what_differs(settings: list[Setting], found: list[str]) -> None:
    assert list(labels(settings).values()) == found


@given(st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=6), st.integers(3, 40))
def test_labels_of_different_settings_differ(pairs: list[tuple[str, str]], most: int) -> None:
    settings = list({s.text: s for s in (setting(a=a, b=b) for a, b in pairs)}.values())
    found = labels(settings, most)
    assert list(found) == [s.text for s in settings]
    assert len(set(found.values())) == len(settings)


@given(st.lists(st.text("ab", max_size=60), min_size=1, max_size=8), st.integers(3, 20))
def test_texts_are_cut_and_stay_apart(texts: list[str], most: int) -> None:
    found = fitted(texts, most)
    assert len(set(found)) == len(set(texts))
    assert all(a == b or (len(a) < len(b) and "…" in a) for a, b in zip(found, texts, strict=True))


VARIANTS: dict[str, list[Any]] = {
    "optimizer": [{"name": "adamw", "weight_decay": d} for d in (0.0001, 0.0005)],
    "model": [{"name": "mlp", "width": 16, "depth": 3}, {"name": "mlp", "width": 24, "depth": 3}],
    "dataset": [{"name": "digits", "items": 200}, {"name": "digits", "items": 300}],
    "lr_schedule": ["constant", "cosine"],
    "input_norm": ["raw", "per-channel"],
    "learning_rate": [0.1, 0.1000001],
}  # fmt: skip


def made(folder: Path, axis: str, claims: list[dict[str, Any]] | None = None, **more: Any) -> Any:
    doc = document(claim=claims or [])
    doc["protocol"] |= {"seeds": 6, "thresholds": [0.5]}
    doc["experiment"][0]["product"] = {
        "norm": ["none", {"name": "group", "groups": 2}, {"name": "group", "groups": 4}],
        "batch_size": [8],
        axis: VARIANTS[axis],
    }
    doc["defaults"].pop(axis, None)
    return write(folder, doc, lambda run: 0.8 + noise(run), **more)


@pytest.mark.parametrize("axis", list(VARIANTS))
def test_no_two_panels_or_rows_of_a_page_look_alike(tmp_path: Path, axis: str) -> None:
    results = made(tmp_path, axis)
    path = tmp_path / "page.html"
    write_report(results, analyse(results), path)
    page = path.read_text(encoding="utf-8")
    drawn = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    curves = re.findall(r">([^<]*)</text>", next(s for s in drawn if "Learning curves" in s))
    word = {"lr_schedule": "co", "input_norm": "r", "learning_rate": "0.1"}.get(axis, "=")
    titles = [
        t for t in curves if t.startswith(("adamw", "mlp", "digits", "co", "raw", "per-", "0.1"))
    ]
    assert len(titles) == len(set(titles)) == 2, curves
    assert all(word in t for t in titles)
    for svg in drawn:
        legend = [t for t in re.findall(r">([^<]*)</text>", svg) if t.startswith("group(")]
        assert set(legend) in (set(), {"group(groups=2)", "group(groups=4)"})
    cells = {t for t in re.findall(r"<td[^>]*>([^<]*)</td>", page) if t in set(full(axis))}
    assert cells == set(full(axis))


def full(axis: str) -> list[str]:
    """The values of an axis as tables have them."""
    given = document()
    given["experiment"][0]["product"] = {"norm": ["none"], "batch_size": [8], axis: VARIANTS[axis]}
    given["defaults"].pop(axis, None)
    cells = parse(given, "made.toml", "made").experiments[0].cells
    found = [getattr(cell, axis) for cell in cells]
    return [str(getattr(value, "label", value)) for value in found]


def test_a_missing_cell_of_another_setting_voids_no_claim(tmp_path: Path) -> None:
    """Cells that differ in an axis beside norm and batch size have names of their own."""
    end = {"failure_score": 0.9, "window": 1}
    claims = [
        {"id": name, "kind": "superiority", "a": "none",
         "b": {"norm": {"name": "group", "groups": 2}},
         "where": {"input_norm": name}, "endpoint": end}
        for name in ("raw", "per-channel")
    ]  # fmt: skip

    def status(run: Any) -> str:
        lost = run.cell.input_norm == "raw" and run.cell.norm.name == "none"
        return "missing" if lost else "finished"

    results = made(tmp_path, "input_norm", claims, status=status)
    table = claim_table(results).set_index("claim")
    assert table.loc["raw", "reason"].startswith(
        "missing cell: none at batch size 8 (input_norm=raw)"
    )
    assert "missing cell" not in table.loc["per-channel", "reason"]
    assert table.loc["per-channel", "n"] == 6
