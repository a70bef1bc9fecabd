"""What a report is made of, as plain data: sections build it, the page and the Markdown arrange it.

All texts are plain: whoever renders them escapes them. Numbers come as numbers, so that tables can
be sorted by value, with the text that people read beside them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

Verdict = Literal["supported", "refuted", "equivalent", "inconclusive", "undecided", "void", ""]


@dataclass(frozen=True)
class Value:
    """One cell of a table: what is shown, and what it is sorted by (default: the text).

    ``link`` is the anchor of the evidence on the same page; ``mark`` a verdict that colours it;
    ``spoken`` what that colour means, for those who do not see it, where it is not the verdict's
    name; ``hint`` a longer text for those who want to know more.
    """

    text: str
    sort: float | str | None = None
    link: str = ""
    mark: Verdict = ""
    hint: str = ""
    spoken: str = ""


@dataclass(frozen=True)
class Column:
    """A column of a table: its heading, whether it holds numbers, and what it means."""

    label: str
    number: bool = False
    doc: str = ""


@dataclass(frozen=True)
class Table:
    """A table with its caption. ``filter_by`` is the place of the column to filter by, if any."""

    anchor: str
    caption: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Value]]
    filter_by: int | None = None
    folded: bool = False


@dataclass(frozen=True)
class Figure:
    """A figure: SVG, how to read it, what it shows here, words for who cannot see it, its data.

    ``csv`` is the data behind the figure as CSV, offered for download from within the page.
    """

    anchor: str
    svg: str
    reading: str
    shows: str
    alt: str
    csv: str
    wide: bool = True


@dataclass(frozen=True)
class Text:
    """Paragraphs; ``lead`` ones are set apart as the answer."""

    paragraphs: Sequence[str]
    lead: bool = False


@dataclass(frozen=True)
class Items:
    """A list of short texts, or of terms with what they mean."""

    items: Sequence[str | tuple[str, str]]
    title: str = ""


@dataclass(frozen=True)
class CodeBlock:
    """Commands or files, as they are typed."""

    text: str
    title: str = ""


@dataclass(frozen=True)
class Chip:
    """A few words that qualify what stands above, with a link to their evidence on the page."""

    text: str
    link: str = ""
    hint: str = ""


@dataclass(frozen=True)
class Overview:
    """An experiment at a glance: norms by batch sizes, a sentence, a small figure, and chips.

    The title leads to ``link``, the evidence; ``svg`` is empty where there is nothing to draw.
    """

    anchor: str
    title: str
    link: str
    sentence: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Value]]
    svg: str = ""
    alt: str = ""
    chips: Sequence[Chip] = ()
    #: Whether norms are compared in it.
    compares: bool = True


Block = Text | Items | CodeBlock | Table | Figure | Overview


@dataclass(frozen=True)
class Section:
    """A part of the page, with parts of its own; ``anchor`` is unique in the page."""

    anchor: str
    title: str
    blocks: Sequence[Block] = ()
    parts: Sequence[Section] = ()


@dataclass(frozen=True)
class Page:
    """A whole report."""

    title: str
    subtitle: str
    sections: Sequence[Section]
    lines: Sequence[str] = field(default_factory=tuple)
    """The five lines that matter, for the terminal."""
