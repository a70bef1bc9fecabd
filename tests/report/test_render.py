"""The page as HTML: well formed, complete, self-contained, harmless, always the same."""

from __future__ import annotations

import base64
import hashlib
import re
import time
from dataclasses import replace
from html.parser import HTMLParser
from urllib.parse import unquote

import numpy as np
import pytest

from normbench.report.blocks import (
    CodeBlock,
    Column,
    Figure,
    Items,
    Page,
    Section,
    Table,
    Text,
    Value,
)
from normbench.report.clean import clean, identifier
from normbench.report.render import render_page, shapes, sort_key
from tests.report.made_page import SVG, VERDICTS, figure, rich_page

VOID = frozenset({"meta", "link", "br", "hr", "img", "input"})


class Reader(HTMLParser):
    """Collects elements and texts, and checks that everything is closed in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: list[str] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        assert len({name for name, _ in attrs}) == len(attrs)
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not {"style", "script"} & set(self.open):
            self.texts.append(data)

    def all(self, tag: str, name: str = "") -> list[dict[str, str]]:
        return [a for found, a in self.elements if found == tag and (not name or name in a)]

    def ids(self) -> list[str]:
        return [a["id"] for _, a in self.elements if "id" in a]

    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


def read(*blocks, title: str = "Made up", parts: tuple[Section, ...] = ()) -> Reader:
    sections = [Section("one", "One", blocks, parts)]
    return Reader(render_page(Page(title, "in words", sections)))


COLUMNS = (Column("name"), Column("value", number=True))


def table(*rows, columns=COLUMNS, **more) -> Table:
    return Table("table", "Made-up numbers", columns, rows, **more)


# -- what is on the page -----------------------------------------------------------------------


def test_everything_is_there_once_and_links_lead_somewhere():
    page = rich_page(draw=False)
    reader = Reader(render_page(page))
    ids = reader.ids()
    assert len(ids) == len(set(ids))
    links = [a["href"] for a in reader.all("a")]
    assert {link[1:] for link in links if link.startswith("#")} <= set(ids)
    for label in ("aria-labelledby", "aria-describedby"):
        assert {a[label] for _, a in reader.elements if label in a} <= set(ids)
    assert len(reader.all("figure")) == len(reader.all("figcaption")) == len(reader.all("svg")) == 5
    assert len(reader.all("table")) == len(reader.all("caption")) == 3
    assert [len(reader.all(f"h{n}")) for n in (1, 2, 3, 4)] == [1, 6, 2, 0]
    for words in ("Use batch norm from", "Figure 5.", "Table 3.", "36 rows", "What is open",
                  "normbench report results/full", "Exact sign-flip test"):  # fmt: skip
        assert words in reader.text()


def test_the_contents_list_sections_and_their_parts():
    page = render_page(rich_page(draw=False))
    contents = page[page.index("<nav") : page.index("</nav>")]
    listed = re.findall(r'<a href="#([^"]+)">', contents)
    assert listed == ["answers", "completeness", "speed", "speed-1", "speed-2", "small-batches",
                      "cost", "methods"]  # fmt: skip


def test_a_verdict_has_a_sign_and_a_word():
    rows = [[Value("+2.1", mark=verdict)] for verdict in VERDICTS]
    reader = read(table(*rows, columns=[Column("effect")]))
    assert len(reader.all("span", "aria-hidden")) == len(VERDICTS)
    assert all(f"({verdict})" in reader.text() for verdict in VERDICTS)
    again = read(table([Value("Supported, fragile", mark="supported")]))
    assert "(supported)" not in again.text()


def test_a_link_to_nothing_is_plain_text():
    reader = read(table([Value("here", link="one"), Value("gone", link="elsewhere")]))
    assert "gone" in reader.text()
    own = [a["href"] for a in reader.all("a") if a.get("class") not in ("anchor", "skip")]
    assert own == ["#one", "#one"]  # the contents, the cell


def test_hints_docs_and_folded_tables_need_no_script():
    reader = read(
        table([Value("a", hint="more of it"), Value("1")],
              columns=[Column("name", doc="what it is"), Column("value")], folded=True)
    )  # fmt: skip
    assert [a.get("class") for a in reader.all("details")] == [None, "folded", "hint", "columns"]
    assert {"more of it", "what it is"} <= {text.strip() for text in reader.texts}
    assert reader.all("th", "aria-describedby")[0]["title"] == "what it is"


def test_narrow_figures_in_a_row_stand_side_by_side():
    narrow = figure("n", SVG, wide=False)
    page = render_page(Page("p", "", [Section("s", "S", [narrow, narrow, Text(["x"]), narrow])]))
    assert page.count('<div class="side">') == 1
    between = page[page.index('<div class="side">') : page.index('<div class="text">')]
    assert between.count("<figure") == 2


def test_the_csv_behind_a_figure_comes_back_byte_by_byte():
    csv = 'norm,"value; of",ü\r\n"<b>&amp;\'%41#",1.5,🙂\n'
    reader = read(replace(figure("f", SVG), csv=csv))
    (link,) = reader.all("a", "download")
    assert link["download"] == "f.csv"
    head, _, body = link["href"].partition(",")
    assert head == "data:text/csv;charset=utf-8"
    assert unquote(body, errors="strict") == csv
    assert not set(body) & set("<>\"'& #\n")
    assert not read(replace(figure("f", SVG), csv="")).all("a", "download")


@pytest.mark.parametrize(
    ("sort", "key"),
    [(1, "1"), (-0.25, "-0.25"), (np.int64(3), "3"), (np.float32(0.5), "0.5"), ("b", "b"),
     (None, None), (float("nan"), ""), (float("inf"), "Infinity"), (-np.inf, "-Infinity"),
     (1e-9, "1e-09"), (2 / 3, "0.666666667")],
)  # fmt: skip
def test_cells_are_sorted_by_value(sort, key):
    assert sort_key(Value("text", sort)) == key


@pytest.mark.parametrize(
    ("text", "sort", "key"),
    [("32", 32, None), ("0.25", 0.25, None), ("0.25", 0.2501, "0.2501"), ("2,777", 2777.0, "2777"),
     ("−2", -2.0, "-2"), ("2 of 3", 2.0, "2"), ("", 1.0, "1"), ("nan", 1.0, "1")],
)  # fmt: skip
def test_a_text_that_is_its_number_needs_no_key(text, sort, key):
    assert sort_key(Value(text, sort)) == key


def test_columns_are_set_by_what_they_hold():
    texts = ("short", "some words " * 4, "whole sentences " * 9, "x" * 200, "1.5")
    row = [Value(text) for text in texts]
    columns = [Column("c", number=text == "1.5") for text in texts]
    expected = ["", "words", "prose", "endless", "number"]
    assert shapes(Table("t", "", columns, [row])) == expected


def test_empty_and_ragged_things_make_a_page():
    assert Reader(render_page(Page("", "", ()))).all("main")
    odd = table([Value("a")], [Value("a"), Value("b"), Value("c")], [], filter_by=7)
    reader = read(odd, table(), Items([]), Text([]), CodeBlock(""), parts=(Section("", ""),))
    assert "0 rows" in reader.text()


# -- one file ----------------------------------------------------------------------------------


def test_nothing_is_fetched_and_only_the_own_script_may_run():
    page = render_page(rich_page(draw=False))
    reader = Reader(page)
    tags = {tag for tag, _ in reader.elements}
    assert not tags & {"iframe", "object", "embed", "link", "img", "base", "form"}
    for _, attributes in reader.elements:
        for name in ("src", "href", "xlink:href", "action", "data", "srcset", "poster"):
            assert attributes.get(name, "#").startswith(("#", "data:text/csv"))
        assert not [name for name in attributes if name.startswith("on")]
    assert "@import" not in page
    assert re.findall(r"url\((?!#)", page) == []
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = next(a["content"] for a in reader.all("meta", "http-equiv"))
    assert policy.startswith("default-src 'none'")
    assert f"script-src 'sha256-{digest}'" in policy


def test_the_same_page_gives_the_same_bytes():
    assert render_page(rich_page(draw=False)) == render_page(rich_page(draw=False))


def test_sixty_large_figures_fit_in_five_megabytes():
    dots = '<use xlink:href="#dot" x="123.456789" y="98.7654321" style="fill: #d55e00"/>\n'
    svg = SVG.replace("<text", dots * (50_000 // len(dots)) + "<text")
    assert len(svg) > 49_000
    blocks = [figure(f"f{i}", svg) for i in range(60)]
    start = time.perf_counter()
    page = render_page(Page("Large", "", [Section("s", "S", blocks)]))
    assert time.perf_counter() - start < 20
    assert len(page.encode("utf-8")) < 5_000_000


# -- figures -----------------------------------------------------------------------------------


def shown(svg: str, label: str = "what is to be seen", times: int = 1) -> Reader:
    return read(*[Figure(f"f{i}", svg, "r", "s", label, "") for i in range(times)])


def test_ids_of_figures_are_their_own():
    reader = shown(SVG, times=2)
    dots, uses = reader.all("path"), reader.all("use")
    assert len({a["id"] for a in dots}) == 2
    assert [a["href"] for a in uses] == ["#" + a["id"] for a in dots]
    assert shown(SVG.replace("xlink:href", "href")).all("use")[0]["href"] != "#dot"


def test_a_figure_keeps_its_size_and_words():
    words = '1 < 2 id="a" href="#dot" url(#dot)'
    reader = shown(SVG.replace("made up", words.replace("<", "&lt;")), label='"<b>"')
    (svg,) = reader.all("svg")
    assert svg["aria-label"] == '"<b>"'
    assert svg["role"] == "img"
    assert svg["style"] == "--width: 400px"
    assert words in reader.texts


EVIL = {
    "script": "<script>alert(1)</script>",
    "handler": '<path d="M0 0" onload="alert(1)"/>',
    "foreign": "<foreignObject><p>x</p></foreignObject>",
    "link": '<a href="javascript:alert(1)"><text>x</text></a>',
    "outside": '<use href="https://example.org/a.svg#x"/>',
    "picture": '<image href="https://example.org/a.png"/>',
    "style": "<style>@import 'https://example.org/a.css'; * { color: red }</style>",
    "address": '<path style="fill: url(https://example.org/a)" d="M0 0"/>',
    "animation": '<set attributeName="href" to="javascript:alert(1)"/>',
    "comment": "<!-- --><!-- > <script>alert(1)</script> -->",
}


@pytest.mark.parametrize("kind", EVIL)
def test_a_figure_holds_nothing_but_shapes(kind):
    page = render_page(Page("p", "", [Section("s", "S", [
        Figure("f", SVG.replace("<text", EVIL[kind] + "<text"), "", "", "", ""),
    ])]))  # fmt: skip
    drawing = page[page.index("<svg") : page.index("</svg>")]
    for word in ("script", "alert", "example.org", "onload", "foreignObject", "@import", "<!--"):
        assert word not in drawing
    assert "made up" in drawing


def test_a_picture_within_a_figure_stays():
    picture = '<image xlink:href="data:image/png;base64,iVBORw0KGgo=" width="3" height="3"/>'
    reader = shown(SVG.replace("<text", picture + "<text"))
    assert reader.all("image")[0]["href"] == "data:image/png;base64,iVBORw0KGgo="


# -- hostile words -----------------------------------------------------------------------------

HOSTILE = {
    "markup": "<script>alert(1)</script></style></title><img src=x onerror=alert(2)>",
    "quotes": "\"'><b onmouseover='x()'>&amp; &lt; `${x}`",
    "template": "{{ page }} {% raw %} {# no #} $\\alpha$ %s %41",
    "one long word": "x" * 200,
    "from the right": "تسوية עברית \u202eabc\u202c",
    "other scripts": "正規化 нормализация 🙂 ﷽ e\u0301",
    "control": "a\x00b\x1b[31mc\x7f\x85d\ufffee\ud800f\x0c",
    "line ends": "one\r\ntwo\tthree]]>-->",
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_whatever_words_say_they_are_shown_and_do_nothing(kind):
    words = HOSTILE[kind]
    row = [Value(words, sort=words, hint=words), Value(words, link=words, mark="void")]
    columns = [Column(words, doc=words), Column(words, number=True)]
    blocks = [
        Text([words], lead=True), Items([words, (words, words)], words), Items([(words, words)]),
        CodeBlock(words, words), Table(words, words, columns, [row], 0),
        Table(words, words, [], []),
        Figure(words, SVG, words, words, words, words), Figure(words, SVG, words, words, words, ""),
    ]  # fmt: skip
    sections = [Section(words, words, blocks, [Section(words, words)])]
    page = render_page(Page(words, words, sections, [words]))
    page.encode("utf-8")
    reader = Reader(page)
    seen = clean(words).replace("\r\n", "\n")
    assert sum(seen.strip() in t.replace("\r\n", "\n") for t in reader.texts) >= 20
    assert len(reader.all("script")) == len(reader.all("style")) == 1
    assert not {"img", "b onmouseover"} & {tag for tag, _ in reader.elements}
    assert not [name for _, a in reader.elements for name in a if name.startswith("on")]
    ids = reader.ids()
    assert len(ids) == len(set(ids))
    assert all(re.fullmatch(r"[A-Za-z][\w-]*", name) for name in ids)
    assert not re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufffe\ud800-\udfff]", page)


def test_words_from_the_right_are_kept_apart():
    reader = read(table([Value("تسوية"), Value("plain")]))
    assert len(reader.all("bdi")) == 1


@pytest.mark.parametrize(
    ("anchor", "name"),
    [("e1-curves", "e1-curves"), ("0.9", "at-0-9"), ("", "at"), ("a--b", "a-b"), ("ü <", "at")],
)
def test_anchors_become_ids(anchor, name):
    assert identifier(anchor) == name
