"""A headless Chromium for tests of pages, and what every page must stand in it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import pytest

AXE = Path(__file__).parents[2] / ".tools/node_modules/axe-core/axe.min.js"
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def absent(what: str, why: str) -> NoReturn:
    """Skip the test, or fail it where ``NORMBENCH_REQUIRE`` names what is not here."""
    if what in os.environ.get("NORMBENCH_REQUIRE", "").split():
        pytest.fail(f"{why}, and NORMBENCH_REQUIRE names {what}", pytrace=False)
    pytest.skip(why)


def chromium_path() -> str:
    """The browser's command, or a skipped test where there is none."""
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    return path or absent("chromium", "Chromium is not installed")


@contextmanager
def browser() -> Iterator[Any]:
    """A browser, or a skipped test where there is none."""
    path = chromium_path()
    try:
        import playwright.sync_api as driver
    except ImportError:
        absent("chromium", "Playwright is not installed")
    with driver.sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield found
        found.close()


@contextmanager
def opened(found: Any, path: Path, width: int = 1400, **options: Any) -> Iterator[Any]:
    """The page in a window; afterwards it must have asked for nothing and complained of nothing."""
    context = found.new_context(viewport={"width": width, "height": 900}, **options)
    page = context.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: said.append(f"error: {error}"))
    page.on("request", lambda request: said.append(request.url))
    try:
        page.goto(path.as_uri())
        yield page
        unasked = [text for text in said if text.partition("#")[0] != path.as_uri()]
        assert unasked == []
    finally:
        context.close()


# Boxes that reach beyond the window, but for what lies in a box that scrolls.
_BEYOND = """() => Array.from(document.querySelectorAll("body *"))
  .filter((e) => !e.closest("svg") && !e.parentElement.closest(".scroll, .plot"))
  .filter((e) => e.getBoundingClientRect().right > document.documentElement.clientWidth + 1)
  .map((e) => `${e.tagName} ${e.className} ${e.id}`)"""
_SPILLING = """() => Array.from(document.querySelectorAll("main *"))
  .filter((e) => !e.closest("svg") && e.getClientRects().length && !e.closest(".unseen"))
  .filter((e) => e.getBoundingClientRect().right > document.documentElement.clientWidth + 1)
  .map((e) => `${e.tagName} ${e.className} ${e.textContent.slice(0, 40)}`)"""


def assert_fits(page: Any) -> None:
    """The window does not scroll sideways, and nothing stands beyond its edge."""
    assert page.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0
    assert page.evaluate(_BEYOND) == []


def assert_prints(page: Any) -> None:
    """In print, all of it, tables and figures too, lies within the paper and nothing is folded."""
    page.set_viewport_size({"width": 680, "height": 1000})  # A4 within the margins of the page
    page.emulate_media(media="print")
    assert page.evaluate(_SPILLING) == []
    heights = page.eval_on_selector_all(
        "figure", "all => all.map((e) => e.getBoundingClientRect().height)"
    )
    assert all(0 < height < 1000 for height in heights)  # 264 mm
    hidden = "nav, .skip, .anchor, .data, .tools label, button .arrow"
    assert page.locator(hidden).locator("visible=true").count() == 0
    page.emulate_media(media="null")


def assert_figures_are_seen(page: Any) -> None:
    """Every figure has a size and shows shapes of some size within its own edges."""
    for plot in page.locator("figure svg").all():
        plot.scroll_into_view_if_needed()
        assert plot.is_visible()
        box = plot.bounding_box()
        assert box["width"] > 50
        assert box["height"] > 20
        assert plot.evaluate("""(svg) => {
          const whole = svg.getBoundingClientRect();
          return Array.from(svg.querySelectorAll("path, use, text, rect, circle"))
            .map((e) => e.getBoundingClientRect())
            .filter((r) => r.width + r.height > 2 && r.left >= whole.left - 1
              && r.right <= whole.right + 1 && r.top >= whole.top - 1).length;
        }""")


def violations(page: Any) -> list[str]:
    """What axe-core finds serious or critical, with everything unfolded."""
    if not AXE.exists():
        absent("axe-core", f"axe-core is not installed: {AXE} is missing (`make tools`)")
    page.evaluate("document.querySelectorAll('details').forEach((e) => { e.open = true; })")
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
    return [
        f"{v['id']}: {v['help']} ({v['nodes'][0]['html'][:200]})"
        for v in found["violations"]
        if v["impact"] in ("serious", "critical")
    ]
