"""The list of reports: complete, the latest first, and whole whatever lies in the folder."""

from __future__ import annotations

import json
import multiprocessing
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from normbench.report.index import (
    NAME,
    Record,
    entries,
    is_ours,
    keep_index,
    record_of,
)
from normbench.results.provenance import record_invocation
from tests.analysis.made import document, write


class Rows(HTMLParser):
    """The rows of the table, as texts, and the links."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.links: list[str] = []
        self.tags: set[str] = set()
        self._in = False

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
            self._in = True
        if tag == "a":
            self.links.append(dict(attrs)["href"] or "")

    def handle_endtag(self, tag):
        self._in = self._in and tag not in ("td", "th")

    def handle_data(self, data):
        if self._in:
            self.rows[-1][-1] += data


def read(folder: Path) -> Rows:
    found = Rows()
    found.feed((folder / NAME).read_text(encoding="utf-8"))
    return found


def page(folder: Path, name: str, **record) -> Path:
    path = folder / f"{name}.html"
    folder.mkdir(exist_ok=True)
    path.write_text("a page", encoding="utf-8")
    assert keep_index(path, Record(**({"title": name.title()} | record))) == folder / NAME
    return path


def test_every_report_has_a_row_the_latest_first(tmp_path):
    page(tmp_path, "old", when="2026-01-02T03:04:05+00:00", runs={"finished": 20, "diverged": 1},
         verdicts={"supported": 3, "inconclusive": 2})  # fmt: skip
    page(tmp_path, "new", when="2026-02-02T03:04:05+00:00", runs={"finished": 4})
    page(tmp_path, "undated", runs={"finished": 1})
    found = read(tmp_path)
    assert found.rows == [
        ["report", "results of (UTC)", "runs", "verdicts"],
        ["Newnew", "2026-02-02 03:04", "4 finished", "no claims"],
        ["Oldold", "2026-01-02 03:04", "20 finished, 1 diverged", "3 supported, 2 inconclusive"],
        ["Undatedundated", "not recorded", "1 finished", "no claims"],
    ]
    assert found.links == ["new.html", "old.html", "undated.html"]


def test_a_report_made_again_keeps_one_row(tmp_path):
    page(tmp_path, "one", runs={"missing": 2})
    page(tmp_path, "one", runs={"finished": 2})
    assert [row[2] for row in read(tmp_path).rows[1:]] == ["2 finished"]


def test_the_same_reports_give_the_same_bytes(tmp_path):
    for folder in ("a", "b"):
        for name in ("x", "y") if folder == "a" else ("y", "x"):
            page(tmp_path / folder, name, when="2026-01-01T00:00:00+00:00")
    assert (tmp_path / "a" / NAME).read_bytes() == (tmp_path / "b" / NAME).read_bytes()


@pytest.mark.parametrize(
    "content",
    [
        None, b"", b"{", b"[]", b"\xff\xfe\x00", b'{"version": 1}',
        b'{"version": 99, "title": "t", "when": "", "runs": {}, "verdicts": {}}',
        b'{"version": 1, "title": 3, "when": "", "runs": {}, "verdicts": {}}',
        b'{"version": 1, "title": "t", "when": "", "runs": {"a": "b"}, "verdicts": {}}',
        b'{"version": 1, "title": "t", "when": "", "runs": [], "verdicts": {}}',
    ],
)  # fmt: skip
def test_a_page_whose_record_is_gone_or_damaged_is_listed_by_name(tmp_path, content):
    page(tmp_path, "hurt")
    path = tmp_path / "hurt.report.json"
    path.unlink() if content is None else path.write_bytes(content)
    page(tmp_path, "whole")
    rows = {row[0]: row[1:] for row in read(tmp_path).rows}
    assert "missing or damaged" in rows["hurt"][0]
    assert rows["Wholewhole"][0] == "not recorded"
    if content is not None:
        assert path.read_bytes() == content


def test_a_record_whose_page_is_gone_is_passed_over(tmp_path):
    page(tmp_path, "gone").unlink()
    page(tmp_path, "here")
    assert read(tmp_path).links == ["here.html"]


@pytest.mark.parametrize("rest", [0, 10, 60, 500])
def test_a_list_that_was_cut_short_is_made_anew(tmp_path, rest):
    page(tmp_path, "one")
    whole = (tmp_path / NAME).read_bytes()
    (tmp_path / NAME).write_bytes(whole[:rest])
    page(tmp_path, "one")
    assert (tmp_path / NAME).read_bytes() == whole


@pytest.mark.parametrize("theirs", ["<html>my site</html>", "<!DOCTYPE html>\n<html>\n<head>"])
def test_a_page_of_somebody_else_is_left_alone(tmp_path, theirs):
    (tmp_path / NAME).write_text(theirs, encoding="utf-8")
    assert not is_ours(tmp_path / NAME)
    assert keep_index(tmp_path / "a.html", Record("t")) is None
    assert (tmp_path / NAME).read_text(encoding="utf-8") == theirs
    assert list(tmp_path.iterdir()) == [tmp_path / NAME]


def test_the_list_never_lists_itself_or_folders(tmp_path):
    (tmp_path / "folder.html").mkdir()
    page(tmp_path, "a")
    assert keep_index(tmp_path / NAME, Record("t")) is None
    assert [entry.name for entry in entries(tmp_path)] == ["a"]


HOSTILE = [
    "<script>alert(1)</script>", "\"'><b onmouseover='x()'>", "{{ 7 * 7 }}", "正規化 🙂 تسوية",
    "x" * 400, "\x00\x1b[31m",
]  # fmt: skip


@pytest.mark.parametrize("words", HOSTILE)
def test_titles_are_shown_and_do_nothing(tmp_path, words):
    page(tmp_path, "a", title=words, when=words, runs={words: 1}, verdicts={words: 2})
    found = read(tmp_path)
    assert found.tags & {"script", "b", "img", "iframe"} == set()
    shown = words.replace("\x00", "\ufffd").replace("\x1b", "\ufffd")
    assert all(shown in text for text in found.rows[1])


def test_file_names_become_links(tmp_path):
    page(tmp_path, "a b#?%&<x>")
    assert read(tmp_path).links == ["a%20b%23%3F%25%26%3Cx%3E.html"]


def test_it_asks_nobody_for_anything(tmp_path):
    page(tmp_path, "a")
    text = (tmp_path / NAME).read_text(encoding="utf-8")
    assert re.findall(r"https?:|url\(|@import|<script|<link", text) == []


def test_the_record_says_what_the_results_hold(tmp_path):
    from normbench.workflow import analyse

    claim = {"id": "c", "kind": "superiority", "a": "layer", "b": "batch",
             "endpoint": {"kind": "final", "failure_score": 0.9}}  # fmt: skip
    results = write(tmp_path, document(claim=[claim]), lambda run: 0.8 + 0.001 * run.seed,
                    status=lambda run: "missing" if run.seed == 9 else "finished")  # fmt: skip
    for started in ("2026-01-01T00:00:00+00:00", "2026-01-03T00:00:00+00:00"):
        record_invocation(results.folder, {"started": started})
    from normbench.results.load import Results

    results = Results(results.folder)
    record = record_of(results, analyse(results))
    assert record.when == "2026-01-03T00:00:00+00:00"
    assert record.runs == {"finished": 108, "missing": 12}
    assert record.verdicts == {"inconclusive": 3}
    assert json.dumps(record.runs)


def make(folder: Path, name: str) -> None:
    page(folder, name)


def test_reports_made_at_once_are_all_listed(tmp_path):
    context = multiprocessing.get_context("spawn")
    names = [f"r{i}" for i in range(4)]
    workers = [context.Process(target=make, args=(tmp_path, name)) for name in names]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
        assert worker.exitcode == 0
    assert sorted(read(tmp_path).links) == [f"{name}.html" for name in names]
    assert list(tmp_path.glob("*.tmp")) == []
