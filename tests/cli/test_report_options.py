"""``normbench report``: its forms, its comparison, its list of reports, and its refusals."""

from __future__ import annotations

import shutil
import webbrowser
from pathlib import Path
from typing import Any

import pytest

from normbench.report.blocks import Page, Section, Text
from tests.analysis.made import document, write
from tests.support import TINY, made_up

REPORTS = Path("reports")


def some(**defaults: Any) -> dict[str, Any]:
    base = {"dataset": "digits", "model": "mlp", "learning_rate": 0.1, "epochs": 2}
    product = {"norm": ["batch", "layer"], "batch_size": [8, 32]}
    return document(
        protocol={"name": "made", "seeds": 8, "window": 1, "title": "Made *up*"},
        defaults=base | defaults, experiment=[{"name": "one", "product": product}],
    )  # fmt: skip


def steady(run) -> float:
    return 0.8 + 0.001 * run.seed


def worse(run) -> float:
    return steady(run) - (0.05 + 0.0001 * run.seed) * (run.cell.norm.name == "batch")


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sets") / "results"
    write(folder / "a", some(), steady)
    write(folder / "b", some(learning_rate=0.05), worse)
    other = some()
    other["experiment"][0]["product"] = {"norm": ["group"], "batch_size": [2]}
    write(folder / "c", other, steady)
    return folder


@pytest.fixture
def here(sets: Path, tmp_path: Path) -> Path:
    shutil.copytree(sets, tmp_path / "results")
    return tmp_path


@pytest.fixture
def quick(here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Reports of one set without figures: only what the command does around them is looked at."""
    import normbench.report.write as writing

    page = Page("Made up", "", [Section("a", "Answer", [Text(["Yes."], lead=True)])],
                ["line 1", "line 2"])  # fmt: skip

    def write_report(results, analysis, path):
        path.write_text("a page", encoding="utf-8")
        return list(page.lines)

    monkeypatch.setattr(writing, "write_report", write_report)
    monkeypatch.setattr("normbench.report.page.build_page", lambda *_: page)
    return here


def refused(said: Any, *words: str, status: int = 2) -> None:
    assert said.status == status, said.err
    assert said.err.startswith("error: ")
    assert [word for word in words if word not in said.err] == [], said.err
    assert "Traceback" not in said.err + said.out


# -- one set -----------------------------------------------------------------------------------


def test_a_report_ends_with_its_lines_and_its_place(cli, here):
    said = cli("report", "results/a")
    assert said.status == 0, said.err
    *lines, last = said.out.splitlines()
    assert 1 <= len(lines) <= 5
    assert last == f"report: {(here / 'reports/made.html').as_uri()}"
    assert (here / "reports/made_tables/final.csv").exists()
    assert "made.html" in (here / "reports/index.html").read_text(encoding="utf-8")


def test_a_real_report_as_markdown_goes_to_the_terminal_alone(cli, here):
    said = cli("report", "results/a", "--format", "md")
    assert said.status == 0, said.err
    assert said.out.startswith("# Made \\*up\\*\n")
    assert "| --- |" in said.out
    assert not (here / "reports").exists()
    assert "report:" not in said.out


@pytest.mark.parametrize("given", [("-o", "x/said.md"), ("-o", "x/said.txt", "--format", "md")])
def test_markdown_goes_to_a_file_if_one_is_named(cli, quick, given):
    said = cli("report", "results/a", *given)
    assert said.out.splitlines() == ["line 1", "line 2", f"report: {(quick / given[1]).as_uri()}"]
    assert (quick / given[1]).read_text(encoding="utf-8") == ("# Made up\n\n## Answer\n\n> Yes.\n")
    assert not (quick / "reports").exists()


def test_the_latest_results_are_taken_without_an_argument(cli, quick):
    import os

    for name, age in (("a", 2), ("b", 0), ("c", 1)):
        path = quick / "results" / name / "protocol.json"
        os.utime(path, (2_000_000_000 - age, 2_000_000_000 - age))
    seen = []
    import normbench.report.write as writing

    def write_report(results, analysis, path):
        seen.append(results.folder.name)
        return []

    writing.write_report = write_report  # the fixture's monkeypatch puts the real one back
    assert cli("report").status == 0
    assert seen == ["b"]


@pytest.mark.parametrize("found", [True, False])
def test_open_shows_the_page(cli, quick, monkeypatch, found):
    opened = []
    monkeypatch.setattr(webbrowser, "open", lambda uri: opened.append(uri) or found)
    said = cli("report", "results/a", "--open")
    assert said.status == 0
    assert opened == [(quick / "reports/made.html").as_uri()]
    assert ("no browser" in said.err) != found


# -- the list ----------------------------------------------------------------------------------


def test_no_index_leaves_the_list_and_the_next_one_knows_the_report(cli, quick):
    assert cli("report", "results/a", "--no-index").status == 0
    assert {p.name for p in (quick / "reports").iterdir()} == {"made.html", "made.report.json"}
    assert cli("report", "results/a", "results/b").status == 0
    assert "missing or damaged" not in (quick / "reports/index.html").read_text(encoding="utf-8")


def test_the_list_gathers_reports_and_comparisons(cli, quick):
    assert cli("report", "results/a").status == 0
    assert cli("report", "results/a", "results/b").status == 0
    text = (quick / "reports/index.html").read_text(encoding="utf-8")
    for words in ("made.html", "a-vs-b.html", "32 finished", "64 finished", "2 worse",
                  "a against b"):  # fmt: skip
        assert words in text


def test_other_folders_get_no_list_unless_they_have_one(cli, quick):
    assert cli("report", "results/a", "-o", "site/page.html").status == 0
    assert {p.name for p in (quick / "site").iterdir()} == {"page.html"}
    assert cli("report", "results/a").status == 0
    shutil.copy(quick / "reports/index.html", quick / "site/index.html")
    assert cli("report", "results/a", "-o", "site/page.html").status == 0
    assert "page.html" in (quick / "site/index.html").read_text(encoding="utf-8")


def test_somebody_elses_index_is_left_alone_and_said(cli, quick):
    (quick / "reports").mkdir()
    (quick / "reports/index.html").write_text("<p>mine</p>", encoding="utf-8")
    said = cli("report", "results/a")
    assert said.status == 0
    assert "left as it is" in said.err
    assert (quick / "reports/index.html").read_text(encoding="utf-8") == "<p>mine</p>"


def test_a_report_cannot_take_the_lists_name(cli, quick):
    refused(cli("report", "results/a", "-o", "reports/index.html"), "received", "--no-index")
    assert cli("report", "results/a", "-o", "reports/index.html", "--no-index").status == 0


# -- two sets ----------------------------------------------------------------------------------


def test_two_sets_are_compared(cli, here):
    said = cli("report", "results/a", "results/b")
    assert said.status == 0, said.err
    lines = said.out.splitlines()
    assert lines[0] == "a against b: 4 cells matched"
    assert lines[1] == "Of 4 matched cells, 2 worse in B, 2 without a change shown."
    assert lines[2].startswith("Batch norm at batch size 8 (one): final error 5.0")
    assert lines[-1] == f"report: {(here / 'reports/a-vs-b.html').as_uri()}"
    assert len(lines) <= 6
    names = {p.name for p in (here / "reports/a-vs-b_tables").iterdir()}
    assert {"cells.csv", "changes.csv", "changes.parquet", "unmatched.csv"} <= names
    page = (here / "reports/a-vs-b.html").read_text(encoding="utf-8")
    assert page.lower().startswith("<!doctype html>")
    assert "learning_rate: 0.1 → 0.05" in page


def test_the_same_sets_give_the_same_bytes(cli, here):
    found = []
    for folder in ("x", "y"):
        assert cli("report", "results/a", "results/b", "-o", f"{folder}/p.html").status == 0
        files = sorted(p for p in (here / folder).rglob("*") if p.is_file())
        found.append([(p.name, p.read_bytes()) for p in files])
    assert found[0] == found[1]


def test_a_comparison_as_markdown(cli, here):
    said = cli("report", "results/a", "results/b", "--format", "md")
    assert said.status == 0
    assert said.out.startswith("# a against b\n")
    assert "> Of 4 matched cells, 2 worse in B" in said.out
    assert "| one | batch | 8 | final error |" in said.out
    assert len(said.out) < 60_000


def test_a_set_against_itself_is_identical(cli, here):
    said = cli("report", "results/a", "results/a")
    assert "Of 4 matched cells, 4 identical in every run." in said.out


# -- refusals ----------------------------------------------------------------------------------


def test_sets_without_a_common_cell(cli, here):
    said = cli("report", "results/a", "results/c")
    refused(said, "cells that both have", "received", "group at batch size 2", "likely fix")
    assert not list((here / "reports").glob("*.html"))


@pytest.mark.parametrize("arguments", [("", "results/b"), ("results/a", "")])
def test_one_side_alone_is_no_comparison(cli, here, arguments):
    refused(cli("report", *arguments), "both A and B", "received", "normbench report A B")
    assert not list((here / "reports").glob("*.html"))


@pytest.mark.parametrize("arguments", [("results/none",), ("results/a", "results/none")])
def test_a_folder_without_results(cli, here, arguments):
    refused(cli("report", *arguments), "results/none", "holds no results")
    assert not list((here / "reports").glob("*.html"))


@pytest.mark.parametrize("name", ["pdf", "", "HTML", "markdown"])
def test_an_unknown_format(cli, here, name):
    refused(cli("report", "results/a", "--format", name), "html or md", f"received: {name!r}",
            "--format md")  # fmt: skip
    assert not list((here / "reports").glob("*.html"))


def test_markdown_is_not_opened(cli, here):
    refused(cli("report", "results/a", "--format", "md", "--open"), "--open", "received")
    assert not list((here / "reports").glob("*.html"))


@pytest.mark.parametrize("arguments", [(), ("results/b",)])
@pytest.mark.parametrize("form", ["html", "md"])
def test_a_place_that_cannot_be_written(cli, quick, arguments, form):
    (quick / "file").write_text("in the way", encoding="utf-8")
    said = cli("report", "results/a", *arguments, "-o", "file/page", "--format", form)
    refused(said, "cannot make the folder file", "choose another place", status=1)
    assert (quick / "file").read_text(encoding="utf-8") == "in the way"


def test_three_sets_are_too_many(cli, here):
    assert cli("report", "results/a", "results/b", "results/c").status == 2


def test_a_page_is_called_after_the_study_and_stays_in_its_folder(cli, tmp_path):
    text = TINY.replace('"tiny"', '"../My / Study"')
    made_up(tmp_path / "results" / "odd", text, lambda run: ("finished", [0.1, steady(run)]))
    assert cli("analyse", "results/odd").status == 0
    assert cli("report", "results/odd").status == 0
    pages = [path.name for path in (tmp_path / "reports").iterdir() if "My---Study." in path.name]
    assert {Path(name).suffix for name in pages} >= {".html", ".json"}
    assert {path.name for path in tmp_path.iterdir()} <= {"results", "reports"}
