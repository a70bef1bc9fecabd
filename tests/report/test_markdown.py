"""The report for a pull request: short, whole, and harmless whatever its texts say."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

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
from normbench.report.clean import clean
from normbench.report.markdown import MOST, render_markdown
from normbench.report.markdown_text import escaped, fenced, in_html, paragraph

GITHUB = 65_536
parser = MarkdownIt("commonmark").enable(["table", "strikethrough"])

CLAIMS = Table(
    "claims",
    "Claims and verdicts",
    [
        Column("claim"),
        Column("verdict"),
        Column("effect", number=True),
        Column("note"),
    ],
    [
        [Value("bn-small@2"), Value("supported", mark="supported"), Value("+4.0", 4.0), Value("")],
        [Value("ln | 8"), Value("refuted", link="x"), Value("−1.0", -1.0), Value("")],
    ],
)
FIGURE = Figure("f", "<svg/>", "Read me so.", "Batch norm falls.", "alt", "a,b\n1,2\n")
PAGE = Page(
    "Quick *study*",
    "10 seeds",
    [
        Section("a", "Answer", [Text(["Use layer norm.", "At 2 above all."], lead=True), CLAIMS]),
        Section("c", "Completeness", [Text(["All 24 runs finished."])]),
        Section(
            "s",
            "Speed & size",
            [FIGURE, replace(CLAIMS, folded=True, rows=CLAIMS.rows[:1])],
            [
                Section(
                    "p", "Part", [Items(["one", ("two", "# three")], "List"), CodeBlock("ls `a`")]
                )
            ],
        ),
        Section("empty", "Nothing"),
    ],
)
GOLDEN = """\
# Quick \\*study\\*

10 seeds

## Answer

> Use layer norm.
>
> At 2 above all.

**Claims and verdicts**

| claim | verdict | effect |
| --- | --- | --: |
| bn-small@<!-- -->2 | supported | +4.0 |
| ln \\| 8 | refuted | −1.0 |

## Completeness

All 24 runs finished.

<details>
<summary>Speed &amp; size</summary>

Batch norm falls.

<details>
<summary>Claims and verdicts</summary>

| claim | verdict | effect |
| --- | --- | --: |
| bn-small@<!-- -->2 | supported | +4.0 |

</details>

### Part

**List**

- one
- **two**: \\# three

```
ls `a`
```

</details>

_Figures and sorting are in the HTML page: `normbench report` without `--format md`._
"""


def test_a_page_as_markdown():
    assert render_markdown(PAGE) == GOLDEN


def test_a_page_without_figures_promises_none():
    text = render_markdown(replace(PAGE, sections=PAGE.sections[:2]))
    assert "Figures" not in text
    assert "<details>" not in text


def test_a_table_whose_cells_are_all_empty_stays_a_table():
    table = replace(CLAIMS, rows=[[Value("")] * 4])
    tokens = parser.parse(render_markdown(Page("t", "", [Section("a", "A", [table])])))
    assert sum(t.type == "td_open" for t in tokens) == 4


# -- length ------------------------------------------------------------------------------------


def long_page(rows: int, words: int = 10, sections: int = 8) -> Page:
    table = replace(
        CLAIMS, rows=[[Value(f"cell {i} {j} " + "word " * words) for j in range(4)]
                      for i in range(rows)]
    )  # fmt: skip
    made = [
        Section(
            f"s{i}", f"Section {i}", [Text(["Said. " * 30]), table, replace(table, folded=True)]
        )
        for i in range(sections)
    ]
    return Page("Long", "", made)


@pytest.mark.parametrize(
    ("rows", "words", "sections"),
    [(5, 10, 8), (40, 10, 8), (400, 10, 8), (2000, 100, 8), (30, 500, 8), (50, 10, 200)],
)
def test_it_fits_into_a_pull_request_and_stays_whole(rows, words, sections):
    text = render_markdown(long_page(rows, words, sections))
    assert len(text) <= MOST < GITHUB
    assert text.count("<details>") == text.count("</details>")
    assert text.startswith("# Long\n\n## Section 0\n\nSaid.")
    if rows > 40:
        assert re.search(r"\d more rows are in the HTML page", text)
    if sections > 100:
        assert "left out to keep this short" in text


def test_a_short_page_loses_nothing():
    text = render_markdown(long_page(5))
    assert "more rows" not in text
    assert "left out" not in text
    assert text.count("cell 4 3") == 16


def test_hostile_texts_cannot_push_the_answer_out():
    table = replace(CLAIMS, rows=[[Value("@a" * 5_000)] * 4 for _ in range(500)])
    page = Page("#1" * 500, "&" * 20_000, [Section("a", "A", [Text(["Answer"], lead=True), table])])
    text = render_markdown(page)
    assert len(text) <= MOST
    assert "> Answer" in text
    assert "488 more rows" in text


# -- texts as they are -------------------------------------------------------------------------

PIECES = ["`", "*", "_", "[", "](x)", "<b>", "</details>", "|", "\\", "#", "- ", "1. ", "~~", "$",
          "&amp;", "http://a.b", "www.a.b", "@me", "#12", "\n", "\n\n", "```", "> ", "===", "---",
          "    ", "\t", "!", "é", "正", "a", " ", "+ ", ":", "<!-- ", "\x00", "\u2028", "x@y.z",
          "\r", "12) ", "| --- |"]  # fmt: skip
texts = st.lists(st.sampled_from(PIECES) | st.characters(), max_size=14).map("".join)


def plain(text: str) -> str:
    return " ".join(clean(text).split())


def shown(inline) -> str:
    """The text that a reader sees; anything but text and our empty comments is a fault."""
    found = ""
    for child in inline.children:
        if child.type == "html_inline":
            assert child.content == "<!-- -->"
            continue
        assert child.type == "text", child
        found += child.content
    return found


@given(texts)
@example("1. one")
@example("- a")
@example("+")
@example("=")
@example("a #")
@example("C:\\|\\")
@example("x\\")
@example("#5 @you www.x.y")
def test_a_paragraph_shows_its_text(text):
    if not plain(text):
        return
    tokens = parser.parse(paragraph(text))
    assert [t.type for t in tokens] == ["paragraph_open", "inline", "paragraph_close"]
    assert shown(tokens[1]) == plain(text)
    quoted = parser.parse(paragraph(text, quoted=True))
    assert [t.type for t in quoted][:3] == ["blockquote_open", "paragraph_open", "inline"]
    assert shown(quoted[2]) == plain(text)


@given(st.lists(texts, min_size=2, max_size=3))
@example(["a|b", "\\", "\\|"])
def test_a_table_shows_its_cells(cells):
    columns = [Column("k"), *(Column("h") for _ in cells)]
    row = [Value("k"), *map(Value, cells)]
    full = [Value("x")] * len(columns)  # a column that is empty throughout is left out
    table = Table("t", "", columns, [row, full])
    page = Page("t", "", [Section("a", "A", [table])])
    tokens = parser.parse(render_markdown(page))
    places = [i for i, t in enumerate(tokens) if t.type == "td_open"]
    assert len(places) == 2 * len(columns)
    found = [shown(tokens[i + 1]) for i in places[1 : len(columns)]]
    assert found == [plain(cell) for cell in cells]


@given(texts)
def test_headings_items_and_summaries_show_their_text(text):
    if not plain(text):
        return
    page = Page(text, "", [
        Section("a", text, [Items([text, (text, text)])]),
        Section("b", "B", [Text(["b"])]),
        Section("c", text, [Text(["c"])]),
    ])  # fmt: skip
    tokens = parser.parse(render_markdown(page))
    heads = [tokens[i + 1] for i, t in enumerate(tokens) if t.type == "heading_open"]
    assert [shown(h) for h in heads] == [plain(text), plain(text), "B"]
    items = [tokens[i + 2] for i, t in enumerate(tokens) if t.type == "list_item_open"]
    assert len(items) == 2
    assert shown(items[0]) == plain(text)
    assert sum(t.type == "html_block" for t in tokens) == 2


@given(texts)
def test_a_summary_holds_no_element(text):
    assert re.findall(r"<(?!!-- -->)", in_html(text)) == []
    assert "\n" not in in_html(text)


@given(texts)
def test_code_stays_code(text):
    tokens = parser.parse(fenced(text))
    assert [t.type for t in tokens] == ["fence"]


def test_a_long_text_is_shortened():
    assert escaped("word " * 1000, 20) == "word word word word…"
    assert len(escaped("a" * 100_000)) == 2_000


def test_nobody_is_called_and_nothing_is_linked():
    text = escaped("@octocat see #12, http://evil.example and www.evil.example, a@b.c")
    for alive in ("@octocat", "#12", "http://", "www.evil", "@b"):
        assert alive not in text
