"""The page as one HTML file that holds all it needs and asks nobody for anything."""

from __future__ import annotations

import base64
import hashlib
import math
import re
from importlib.resources import files
from numbers import Real
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from normbench.report.blocks import Page, Table, Value
from normbench.report.clean import cleaned, csv_link, say
from normbench.report.inline_svg import inline
from normbench.report.layout import Layout

#: The sign of each verdict: colour is never all that tells them apart.
SIGNS = {
    "supported": "✓",
    "refuted": "✗",
    "equivalent": "≈",
    "inconclusive": "?",
    "undecided": "?",
    "void": "∅",
}
_PLAIN_NUMBER = re.compile(r"\d+(\.\d+)?")
#: Tables with more rows than this scroll in a box of their own, below their heading.
TALL = 18


def render_page(page: Page) -> str:
    """The page as HTML; equal pages give equal text."""
    environment = Environment(
        loader=PackageLoader("normbench.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=cleaned,
    )
    environment.filters |= {"say": say, "csv_link": csv_link, "sort_key": sort_key}
    script = _asset("page.js")
    layout = Layout.of(page)
    return environment.get_template("page.html").render(
        page=page, parts=layout.parts, ids=layout.ids, style=_asset("page.css"), script=script,
        script_hash=_hash(script), signs=SIGNS, tall=TALL, inline=inline, shapes=shapes,
    )  # fmt: skip


def _asset(name: str) -> Markup:
    text = files("normbench.report").joinpath("templates", name).read_text(encoding="utf-8")
    return Markup("\n" + text.strip() + "\n")


def _hash(script: str) -> str:
    digest = hashlib.sha256(script.encode("utf-8")).digest()
    return "sha256-" + base64.b64encode(digest).decode("ascii")


def sort_key(value: Value) -> str | None:
    """What a cell is sorted by, if not by its text; nothing where there is no number.

    A large page has ten thousands of cells: a text that is the number itself needs no key.
    """
    key: Any = value.sort
    if not isinstance(key, Real):
        return key if isinstance(key, str) else None
    number = float(key)
    if math.isnan(number):
        return ""
    if math.isinf(number):
        return ("-" if number < 0 else "") + "Infinity"
    if _PLAIN_NUMBER.fullmatch(value.text) and float(value.text) == number:
        return None
    return f"{number:.9g}"


def shapes(table: Table) -> list[str]:
    """How each column is set: numbers, words, prose, or words without end; else on one line."""
    found = []
    for place, column in enumerate(table.columns):
        texts = [row[place].text for row in table.rows if place < len(row)]
        longest = max(map(len, texts), default=0)
        word = max((len(word) for text in texts for word in text.split()), default=0)
        kind = "endless" if word > 40 else "prose" if longest > 48 else "words"
        if longest <= 24 and kind == "words":
            kind = ""  # the rule, which most cells follow
        found.append(f"{kind} number".strip() if column.number else kind)
    return found
