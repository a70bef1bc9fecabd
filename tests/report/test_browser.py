"""The page in a browser: quiet, legible at any width, sorted and filtered, printed, accessible."""

from __future__ import annotations

import io
import re

import pytest

from normbench.report.blocks import Column, Figure, Items, Page, Section, Table, Text, Value
from normbench.report.render import render_page
from tests.report.browsing import (
    assert_figures_are_seen,
    assert_fits,
    assert_prints,
    browser,
    opened,
    violations,
)
from tests.report.made_page import SVG, rich_page

WIDTHS = (360, 800, 1400)


def awkward() -> Page:
    """Words and tables that no page was made for."""
    words = [
        "x" * 200,
        "</script><script>alert(1)</script>",
        "تسوية \u202eabc",
        "a\x00b",
        "🙂" * 60,
    ]
    columns = [Column(words[i % 5], i % 2 == 1, words[0]) for i in range(9)]
    rows = [[Value(words[(i + j) % 5], hint=words[1]) for j in range(9)] for i in range(30)]
    many = [Column(f"column {i}", True) for i in range(24)]
    numbers = [[Value(f"{i * j:,}.25", i * j) for j in range(24)] for i in range(3)]
    blocks = [
        Text(words, lead=True), Items(words), Items([(w, w) for w in words]),
        Table("words", words[0], columns, rows, 0), Table("many", "Many", many, numbers),
        *[Figure(f"f{i}", SVG, words[0], words[1], words[2], words[3], i < 1) for i in range(3)],
    ]  # fmt: skip
    return Page(words[0], words[1], [Section(w, w, blocks if i < 1 else ()) for i, w in
                                     enumerate(words)])  # fmt: skip


@pytest.fixture(scope="module")
def chromium():
    with browser() as found:
        yield found


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    made = {"rich": rich_page(), "awkward": awkward()}
    for name, page in made.items():
        (folder / f"{name}.html").write_text(render_page(page), encoding="utf-8")
    return {name: folder / f"{name}.html" for name in made}


@pytest.fixture
def rich(chromium, pages):
    with opened(chromium, pages["rich"]) as page:
        yield page


def column(page, table: str, place: int) -> list[str]:
    cells = page.locator(f"#{table} tbody tr:visible > :nth-child({place + 1})")
    return cells.all_inner_texts()


@pytest.mark.parametrize("name", ["rich", "awkward"])
@pytest.mark.parametrize("width", WIDTHS)
def test_it_fits_the_window_and_shows_its_figures(chromium, pages, name, width):
    with opened(chromium, pages[name], width) as page:
        assert_fits(page)
        assert_figures_are_seen(page)
        page.evaluate("document.querySelectorAll('details').forEach((e) => { e.open = true; })")
        assert_fits(page)


# -- tables ------------------------------------------------------------------------------------


def test_a_click_sorts_up_down_and_back(rich):
    heading = rich.locator("#time-rows thead th").nth(3)
    before = column(rich, "time-rows", 3)
    assert heading.get_attribute("aria-sort") is None
    heading.get_by_role("button").click()
    assert heading.get_attribute("aria-sort") == "ascending"
    up = [float(text) for text in column(rich, "time-rows", 3)]
    assert up == sorted(up)
    assert up != sorted(up, key=str)  # by value, not by text
    heading.get_by_role("button").click()
    assert heading.get_attribute("aria-sort") == "descending"
    assert [float(text) for text in column(rich, "time-rows", 3)] == up[::-1]
    heading.get_by_role("button").click()
    assert heading.get_attribute("aria-sort") is None
    assert column(rich, "time-rows", 3) == before


def test_the_keyboard_sorts_and_equal_rows_keep_their_order(rich):
    buttons = rich.locator("#time-rows thead button")
    buttons.nth(3).focus()
    rich.keyboard.press("Enter")  # by mean epochs
    rich.keyboard.press("Shift+Tab")
    rich.keyboard.press("Space")  # then by batch size
    assert buttons.nth(2).evaluate("e => e === document.activeElement")
    assert rich.locator("#time-rows [aria-sort]").count() == 1
    both = zip(column(rich, "time-rows", 2), column(rich, "time-rows", 3), strict=True)
    found = [(int(a), float(b)) for a, b in both]
    assert found == sorted(found)


def test_cells_without_a_number_come_last_either_way(rich):
    button = rich.locator("#time-rows thead button").nth(5)
    for _ in range(2):
        button.click()
        found = column(rich, "time-rows", 5)
        assert found[-6:] == [""] * 6
        assert "" not in found[:-6]


def test_words_and_marks_are_sorted_by_their_text(rich):
    rich.locator("#claims thead button").nth(1).click()
    found = [re.sub(r"^\W+", "", text) for text in column(rich, "claims", 1)]
    assert found == sorted(found)


def test_the_filter_keeps_one_experiment_and_counts(rich):
    control = rich.get_by_label("Show experiment").locator("visible=true")
    control.select_option(label="experiment 2")
    assert set(column(rich, "time-rows", 0)) == {"experiment 2"}
    assert rich.locator("#time-rows .count").inner_text() == "18 of 36 rows"
    rich.locator("#time-rows thead button").nth(3).click()
    assert len(column(rich, "time-rows", 0)) == 18
    control.select_option(label="all")
    assert len(column(rich, "time-rows", 0)) == 36
    assert rich.locator("#time-rows .count").inner_text() == "36 rows"


def test_many_values_are_filtered_by_words(chromium, tmp_path):
    rows = [[Value(f"run {i}")] for i in range(60)]
    table = Table("runs", "Runs", [Column("run")], rows, 0)
    path = tmp_path / "many.html"
    path.write_text(render_page(Page("Many", "", [Section("s", "S", [table])])), encoding="utf-8")
    with opened(chromium, path) as page:
        page.get_by_label("Find run").fill("RUN 5")
        assert len(column(page, "runs", 0)) == 11
        top = page.locator("#runs thead th").bounding_box()["y"]
        page.locator("#runs .scroll").evaluate("e => e.scrollTo(0, 150)")
        page.get_by_label("Find run").fill("")
        page.locator("#runs .scroll").evaluate("e => e.scrollTo(0, 900)")
        assert page.locator("#runs thead th").bounding_box()["y"] <= top  # stays in sight
        assert page.locator("#runs thead th").is_visible()
        assert page.locator("#runs tbody tr").first.bounding_box()["y"] < 0 < top


# -- finding one's way -------------------------------------------------------------------------


def test_the_contents_mark_where_one_is(rich):
    current = rich.locator("nav [aria-current]")
    assert current.inner_text() == "Answers"
    rich.locator("#small-batches").evaluate("e => e.scrollIntoView()")
    rich.locator("nav [aria-current][href='#small-batches']").wait_for()
    assert current.count() == 1
    assert rich.locator("nav").bounding_box()["y"] >= 0  # it stays in sight


def test_on_a_phone_the_contents_fold(chromium, pages):
    with opened(chromium, pages["rich"], 360) as page:
        link = page.locator("nav a", has_text="Cost")
        assert not link.is_visible()
        page.locator("nav summary").click()
        link.click()
        assert page.url.endswith("#cost")
        assert not link.is_visible()


def test_a_link_to_a_folded_table_opens_it(chromium, pages):
    with opened(chromium, pages["rich"]) as page:
        assert not page.locator("#runs table").is_visible()
        page.evaluate("location.hash = '#runs'")
        page.locator("#runs table").wait_for(state="visible")


def test_anchors_show_when_they_are_reached_by_keyboard(rich):
    anchor = rich.locator("#answers .head .anchor")
    assert anchor.evaluate("e => getComputedStyle(e).opacity") == "0"
    rich.locator("nav a").last.focus()
    rich.keyboard.press("Tab")
    assert anchor.evaluate("e => e === document.activeElement")
    rich.wait_for_timeout(300)
    assert anchor.evaluate("e => getComputedStyle(e).opacity") == "1"


def test_the_data_of_a_figure_can_be_saved(rich):
    with rich.expect_download() as saving:
        rich.locator("#batch .data a").click()
    assert saving.value.suggested_filename == "batch.csv"
    with open(saving.value.path(), encoding="utf-8", newline="") as file:  # noqa: PTH123
        assert file.read() == "norm,batch_size,error\nbatch,2,0.1\n"


# -- without a script, in the dark, on paper ---------------------------------------------------


def test_without_javascript_everything_is_there_but_the_controls(chromium, pages):
    with opened(chromium, pages["rich"], java_script_enabled=False) as page:
        assert page.locator("button, select, input").count() == 0
        assert page.locator("nav a").first.is_visible()
        assert page.locator("#time-rows tbody tr").count() == 36
        for thing in page.locator("h2, h3, figcaption p, figure svg, table:not(#runs *)").all():
            assert thing.is_visible()
        page.locator("#runs > details > summary").click()
        assert page.locator("#runs table").is_visible()
        page.keyboard.press("Tab")
        assert_fits(page)


def luminance(colour: str) -> float:
    parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return sum(w * p for w, p in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_follow_the_scheme_and_are_legible(chromium, pages, scheme):
    with opened(chromium, pages["rich"], color_scheme=scheme) as page:
        ground = luminance(page.evaluate("getComputedStyle(document.body).backgroundColor"))
        assert (ground > 0.5) == (scheme == "light")
        words = ["body", ".subtitle", ".reading", ".lead p", "nav a", "nav [aria-current]",
                 ".count", "tbody a", "thead button", "figure svg text"]  # fmt: skip
        words += [f".verdict.{v}" for v in ("supported", "refuted", "equivalent", "void")]
        for selector in words:
            ink, own = page.locator(selector).first.evaluate(
                """e => {
                  const style = getComputedStyle(e);
                  let ground = e;
                  const clear = "rgba(0, 0, 0, 0)";
                  while (getComputedStyle(ground).backgroundColor === clear) {
                    ground = ground.parentElement;
                  }
                  const ink = e.closest("svg") ? style.fill : style.color;
                  return [ink, getComputedStyle(ground).backgroundColor];
                }"""
            )
            low, high = sorted((luminance(ink), luminance(own)))
            assert (high + 0.05) / (low + 0.05) >= 4.5, (selector, ink, own)


@pytest.mark.parametrize("name", ["rich", "awkward"])
def test_on_paper_nothing_is_cut_or_folded(chromium, pages, name):
    with opened(chromium, pages[name], color_scheme="dark") as page:
        assert_prints(page)
        import pypdf

        document = pypdf.PdfReader(io.BytesIO(page.pdf(prefer_css_page_size=True)))
        sizes = {(round(p.mediabox.width), round(p.mediabox.height)) for p in document.pages}
        assert sizes <= {(595, 842), (596, 842), (594, 841), (595, 841)}  # A4
        if name == "rich":
            assert len(document.pages) <= 8
            text = " ".join(" ".join(p.extract_text() for p in document.pages).split())
            for words in ("Use batch norm from", "Runs by status", "Two seeds lack a run",
                          "adjusted within its family", "Figure 5."):  # fmt: skip
                assert words in text
            assert "data (CSV)" not in text
            leaves = [p.extract_text() for p in document.pages]
            across = [text for text in leaves if "experiment 2" in text]
            assert all("reached" in text for text in across)  # headings on every leaf


@pytest.mark.parametrize(
    ("name", "width", "scheme"),
    [("rich", 1400, "light"), ("rich", 360, "dark"), ("awkward", 800, "dark")],
)
def test_axe_finds_nothing_serious(chromium, pages, name, width, scheme):
    with opened(chromium, pages[name], width, color_scheme=scheme) as page:
        assert violations(page) == []
