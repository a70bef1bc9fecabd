"""Plain texts as Markdown that shows them as they are.

Rules: CommonMark 0.31 (https://spec.commonmark.org/0.31.2/#backslash-escapes) and GitHub's
additions: tables, links and mentions without markup, formulas between dollar signs.
"""

from __future__ import annotations

import re
from html import escape

from normbench.report.clean import clean

#: The most characters of a text; a protocol's description may have 20,000.
LONGEST = 2_000
_MARKUP = re.compile(r"[\\`*_\[\]~|$#]")
# What would open a block at the start of a line, apart from those: lists, rules, numbers
_OPENING = re.compile(r"^(?:[+=:-]|\d{1,9}(?=[.)]))")
# @name and #12 become mentions, www. and :// addresses: an empty comment parts them
_ALIVE = re.compile(r"[@#](?=\w)|(?<=:)//|(?<=www)\.", re.IGNORECASE)
_PART = "<!-- -->"


def _short(text: str, longest: int) -> str:
    text = " ".join(clean(text).split())
    return text if len(text) <= longest else text[: longest - 1].rstrip() + "…"


def escaped(text: str, longest: int = LONGEST) -> str:
    """A text within a line or a cell of a table: on one line, with nothing that is markup."""
    text = escape(_short(text, longest), quote=False)
    return _ALIVE.sub(_parted, _MARKUP.sub(r"\\\g<0>", text))


def _parted(found: re.Match[str]) -> str:
    sign = found.group(0)
    return sign + _PART if sign in "@#" else _PART + sign


def line(text: str) -> str:
    """A text at the start of a line, where it must not open a list or a rule."""
    return _OPENING.sub(
        lambda found: f"{found[0]}\\" if found[0].isdigit() else f"\\{found[0]}", escaped(text)
    )


def paragraph(text: str, *, quoted: bool = False) -> str:
    """A text as a paragraph of its own, or as a quotation, which sets it apart."""
    return f"> {line(text)}" if quoted else line(text)


def in_html(text: str) -> str:
    """A text within an element of HTML, where Markdown does not hold."""
    return _ALIVE.sub(_parted, escape(_short(text, LONGEST), quote=False))


def fenced(text: str) -> str:
    """Commands or files as they are, in a fence longer than any in them."""
    text = clean(text).rstrip("\n")
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}\n{text}\n{fence}"
