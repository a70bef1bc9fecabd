"""The page: whole, self-contained, the same for the same results, and harmless whatever it says."""

from __future__ import annotations

import re
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.report.browsing import chromium_path
from tests.support import TINY, made_up

STUDY = TINY.replace("seeds = 2", "seeds = 6").replace("epochs = 1", "epochs = 2")
NAME = "reports/tiny.html"


def steady(run):
    worse = 0.04 if run.cell.norm.name == "batch" and run.cell.batch_size == 8 else 0.0
    return "finished", [0.1, 0.5 + 0.01 * run.seed, 0.9 - worse + 0.001 * run.seed**2]


class Reader(HTMLParser):
    """Collects elements, and checks that they are closed in order."""

    VOID = frozenset({"meta", "link", "br", "hr", "img", "input"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.texts.append(data)


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    reader.close()
    assert reader.open == []
    return reader


def report(cli, tmp_path: Path, curve=steady, text: str = STUDY) -> tuple[str, Reader]:
    made_up(tmp_path / "results" / "tiny", text, curve)
    said = cli("report", "-o", NAME)
    assert said.status == 0, said.err
    page = (tmp_path / NAME).read_text(encoding="utf-8")
    return page, read(page)


def count(reader: Reader, tag: str) -> int:
    return sum(name == tag for name, _ in reader.elements)


# -- what it shows -----------------------------------------------------------------------------


def test_it_has_figures_with_names_and_tables_with_headings(cli, tmp_path):
    page, reader = report(cli, tmp_path)
    figures = [a for tag, a in reader.elements if tag == "svg"]
    assert len(figures) >= 3  # curves, times, small batches
    assert all(a["role"] == "img" and "First experiment" in a["aria-label"] for a in figures)
    small = [a for a in figures if a["aria-label"].startswith("Error of every seed")]
    assert len(small) == 1  # beside the grid of norms and batch sizes
    assert count(reader, "figure") == count(reader, "figcaption") == len(figures) - len(small)
    assert count(reader, "table") == count(reader, "caption") >= 4
    text = " ".join(reader.texts)
    for word in ("Tiny study", "First experiment", "batch", "layer", "planned", "missing"):
        assert word in text
    ids = [a["id"] for _, a in reader.elements if "id" in a]
    assert len(ids) == len(set(ids))
    links = [a["href"] for tag, a in reader.elements if tag == "a"]
    assert links
    assert {link.removeprefix("#") for link in links if link.startswith("#")} <= set(ids)
    assert page.startswith("<!DOCTYPE html>")


def test_the_small_batch_finding_is_said_with_interval_and_p(cli, tmp_path):
    assert "seeds = 6" in STUDY
    _, reader = report(cli, tmp_path, text=STUDY.replace("seeds = 6", "seeds = 8"))
    text = " ".join(" ".join(reader.texts).split())
    assert "loses 4.0 points more than layer norm when the batch shrinks from 16 to 8" in text
    assert "95 % interval 4.0 to 4.0, 8 seeds, adjusted p = 0.008" in text


def test_nothing_is_fetched_from_anywhere(cli, tmp_path):
    page, reader = report(cli, tmp_path)
    for tag, attributes in reader.elements:
        assert tag not in ("iframe", "object", "embed", "link", "img", "base")
        for name in ("src", "href", "xlink:href", "action", "data", "srcset", "poster"):
            own = "data:text/csv" if "download" in attributes else "#"
            assert (attributes.get(name) or own).startswith(own)
        assert not [name for name in attributes if name.startswith("on")]
    assert "@import" not in page
    assert re.findall(r"url\((?!#)", page) == []


def test_the_tables_lie_beside_the_page_and_are_named_in_it(cli, tmp_path):
    page, _ = report(cli, tmp_path)
    names = {p.stem for p in (tmp_path / "reports/tiny_tables").glob("*.csv")}
    assert {"completeness", "curves", "final", "times", "comparisons", "degradation"} <= names
    assert names == {p.stem for p in (tmp_path / "reports/tiny_tables").glob("*.parquet")}
    assert "tiny_tables/" in page
    assert all(name in page for name in names)


def test_the_same_results_give_the_same_bytes(cli, tmp_path, monkeypatch):
    made_up(tmp_path / "results" / "tiny", STUDY, steady)
    found = []
    for folder in ("a", "b"):
        assert cli("report", "-o", f"{folder}/page.html").status == 0
        found.append(
            {str(p.relative_to(tmp_path / folder)): p.read_bytes()
             for p in sorted((tmp_path / folder).rglob("*")) if p.is_file()}
        )  # fmt: skip
    assert found[0].keys() == found[1].keys()
    assert [name for name in found[0] if found[0][name] != found[1][name]] == []


def test_without_an_argument_the_latest_results_are_taken(cli, tmp_path):
    import os

    for age, name in enumerate(("new", "old")):
        text = STUDY.replace('name = "tiny"', f'name = "{name}"')
        folder = made_up(tmp_path / "results" / name, text, steady).folder
        os.utime(folder / "protocol.json", (2_000_000_000 - age, 2_000_000_000 - age))
    said = cli("report")
    assert said.status == 0
    assert (tmp_path / "reports/new.html").exists()
    assert not (tmp_path / "reports/old.html").exists()
    assert said.out.splitlines()[-1] == f"report: {(tmp_path / 'reports/new.html').as_uri()}"
    assert "24 runs planned: all of them finished." in said.out
    assert "othing is decided by itself: 6 seeds" in said.out
    assert len(said.out.splitlines()) == 4
    assert cli("report", "results/old").status == 0
    assert (tmp_path / "reports/old.html").exists()


# -- incomplete results ------------------------------------------------------------------------


def test_partial_results_are_reported_with_what_is_missing(cli, tmp_path):
    fates = {0: ("diverged", [0.1, float("nan")]), 1: ("failed", [0.1]), 2: None}

    def curve(run):
        return fates[run.seed] if run.seed in fates and run.cell.batch_size == 8 else steady(run)

    _, reader = report(cli, tmp_path, curve)
    text = " ".join(" ".join(reader.texts).split())
    assert "Cells that are not complete" in text
    assert "24 16 2 0 2 4" not in text  # planned, finished, diverged, undefined, failed, missing
    assert "24 18 2 0 2 2" in text
    assert "seeds lack a run" in text


def test_undefined_cells_are_listed_with_their_reason(cli, tmp_path):
    def curve(run):
        undefined = run.cell.norm.name == "batch" and run.cell.batch_size == 8
        return ("undefined", [0.1]) if undefined else steady(run)

    _, reader = report(cli, tmp_path, curve)
    assert "one, batch, batch size 8: undefined: made up" in " ".join(reader.texts)


@pytest.mark.parametrize(
    "kept", [("layer", 8), ("batch", 16)], ids=["the reference alone", "without the reference"]
)
def test_a_single_cell_makes_a_page(cli, tmp_path, kept):
    def curve(run):
        return steady(run) if (run.cell.norm.name, run.cell.batch_size) == kept else None

    _, reader = report(cli, tmp_path, curve)
    assert count(reader, "svg") >= 2


def test_a_study_in_which_all_runs_diverged_makes_a_page(cli, tmp_path):
    _, reader = report(cli, tmp_path, lambda run: ("diverged", [0.1, float("nan")]))
    assert count(reader, "svg") >= 2


def test_a_study_of_losses_says_nothing_of_accuracy(cli, tmp_path):
    text = STUDY.replace("thresholds = [0.3]", 'thresholds = [0.3]\nmetric = "loss"')
    _, reader = report(cli, tmp_path, steady, text)
    body = " ".join(reader.texts)
    assert "nat" in body
    assert "Extra loss of accuracy" not in body


def test_intervals_are_headed_by_the_level_that_they_have(cli, tmp_path):
    text = STUDY.replace("window = 1", "window = 1\nalpha = 0.1")
    _, reader = report(cli, tmp_path, steady, text)
    body = " ".join(reader.texts)
    assert "90 % interval" in body
    assert "95 % interval" not in body


@pytest.mark.parametrize("kind", ["nothing", "no folder", "not computed", "cut short"])
def test_what_cannot_be_reported_is_told(cli, tmp_path, kind):
    folder = tmp_path / "results" / "tiny"
    words = {
        "nothing": "holds no results",
        "no folder": "holds no results",
        "not computed": "no computed run yet (24 planned)",
        "cut short": "epochs.parquet is damaged",
    }[kind]
    if kind == "nothing":
        folder.mkdir(parents=True)
    if kind in ("not computed", "cut short"):
        made_up(folder, STUDY, (lambda run: None) if kind == "not computed" else steady)
    if kind == "cut short":
        path = folder / "epochs.parquet"
        path.write_bytes(path.read_bytes()[:-100])
    said = cli("report")
    assert said.status == 2
    assert words in said.err
    assert "Traceback" not in said.err
    assert not (tmp_path / NAME).exists()


@pytest.mark.parametrize(
    ("place", "status", "words"),
    [("file/page.html", 1, "error: cannot"), ("folder", 2, "error: --output names the file")],
)
def test_a_page_that_cannot_be_written_is_told(cli, tmp_path, place, status, words):
    made_up(tmp_path / "results" / "tiny", STUDY, steady)
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    (tmp_path / "folder").mkdir()
    said = cli("report", "-o", place)
    assert said.status == status
    assert words in said.err
    assert "Traceback" not in said.err


# -- hostile words -----------------------------------------------------------------------------

HOSTILE = {
    "markup": "<script>alert(1)</script><img src=x onerror=alert(2)>",
    "quotes": "\\\"'><b onmouseover='x()'>&amp; &lt;",
    "template": "{{ study }} {% raw %} ${x} $\\\\alpha$ %s",
    "long": "word " * 99,
    "one long word": "x" * 400,
    "other scripts": "正規化 нормализация تسوية 🙂 ﷽",
    "figure ids": 'id=\\"a\\" href=\\"#a\\" #010203 </svg></figure>',
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_what_a_protocol_says_is_shown_as_it_is_and_does_nothing(cli, tmp_path, kind):
    words = HOSTILE[kind]
    one = STUDY.replace("thresholds = [0.3]", "thresholds = []").replace("[8, 16]", "[8]")
    text = (
        one.replace('"Tiny study"', f'"{words}"\ndescription = "{words}"')
        .replace('"First experiment"', f'"{words}"')
    )  # fmt: skip
    _, reader = report(cli, tmp_path, steady, text)
    spoken = words.replace('\\"', '"').replace("\\\\", "\\")
    shown = [" ".join(t.split()) for t in reader.texts]
    assert sum(" ".join(spoken.split()) in t for t in shown) >= 4
    assert count(reader, "script") == 1
    assert not {"img", "b"} & {tag for tag, _ in reader.elements}
    labels = [a["aria-label"] or "" for tag, a in reader.elements if tag == "svg"]
    assert all(spoken in label for label in labels)
    assert not [name for _, a in reader.elements for name in a if name.startswith("on")]


# -- in a browser ------------------------------------------------------------------------------


def test_a_browser_shows_figures_and_tables(cli, tmp_path):
    browser = chromium_path()
    text = STUDY.replace("Tiny study", "<script>document.title = 'broken'</script>")
    _, reader = report(cli, tmp_path, steady, text)
    done = subprocess.run(
        [
            browser, "--headless", "--no-sandbox", "--disable-gpu",
            "--disable-background-networking", f"--user-data-dir={tmp_path / 'profile'}",
            "--dump-dom", (tmp_path / NAME).as_uri(),
        ],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0
    shown = read(done.stdout)
    for tag in ("svg", "table", "figure", "h2"):
        assert count(shown, tag) == count(reader, tag) > 0
    assert "<title>&lt;script&gt;" in done.stdout
    assert count(shown, "script") == 1
