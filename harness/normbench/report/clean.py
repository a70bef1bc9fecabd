"""Texts that do no harm wherever they stand on a page: no control characters, safe anchors."""

from __future__ import annotations

import re
import unicodedata
from typing import Any
from urllib.parse import quote

from markupsafe import Markup, escape

# What HTML and XML forbid: control characters but tab and line ends, halves of characters,
# and the code points that never are characters.
_FORBIDDEN = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]"
)
_STEERING = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_RIGHT_TO_LEFT = frozenset({"R", "AL", "AN"})


def clean(text: str) -> str:
    """The text with every character that a page cannot hold replaced by U+FFFD."""
    return _FORBIDDEN.sub("\ufffd", text)


def cleaned(value: Any) -> Any:
    """``clean`` for whatever a template puts out; markup made by this package stays as it is."""
    return clean(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def say(text: str) -> Markup:
    """The text as markup; scripts written from the right keep their order to themselves."""
    text = clean(text)
    if text.isascii() or not any(
        c in _STEERING or unicodedata.bidirectional(c) in _RIGHT_TO_LEFT for c in text
    ):
        return escape(text)
    return Markup("<bdi>{}</bdi>").format(text)


def identifier(anchor: str) -> str:
    """An id made of the anchor: letters, digits, underscores and single hyphens, a letter first.

    Two hyphens in a row are left to the page, for what belongs to the thing with that id.
    """
    name = re.sub(r"[^A-Za-z0-9_]+", "-", anchor)[:80].strip("-")
    return name if name[:1].isalpha() else f"at-{name}".rstrip("-")


def csv_link(csv: str) -> str:
    """CSV as an address that holds it all: following it asks nobody for anything."""
    return "data:text/csv;charset=utf-8," + quote(clean(csv), safe=",.:;=+-_~()*/")
