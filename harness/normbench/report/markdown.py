"""The page as Markdown for a pull request: short, and harmless whatever the texts say.

It is written for GitHub's dialect (https://github.github.com/gfm/): tables, ``<details>``, and a
limit of 65,536 characters a comment. Sections after the second are folded, figures left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from normbench.report.blocks import (
    Block,
    CodeBlock,
    Figure,
    Items,
    Overview,
    Page,
    Section,
    Table,
    Text,
    Value,
)
from normbench.report.markdown_text import escaped, fenced, in_html, line, paragraph

#: Below GitHub's limit, with room for a few words around it.
MOST = 60_000
#: The sections that stand open: the answer, and what it rests on.
_OPEN = 2
#: Rows of a table, and characters of a cell, tried in turn until the whole is short enough.
_SIZES = ((1_000_000, 300), (200, 300), (100, 300), (50, 200), (25, 200), (12, 120), (6, 80),
          (3, 40))  # fmt: skip
_NOTE = "Figures and sorting are in the HTML page: `normbench report` without `--format md`."
_SHORTER = "What follows was left out to keep this short; the HTML page has it."


Size = tuple[int, int]


def render_markdown(page: Page, most: int = MOST) -> str:
    """The page as Markdown of at most ``most`` characters.

    Where it would be longer, tables lose rows, and then the last sections go; each says so.
    ``most`` must leave room for a title and an answer: 4,000 characters are enough.
    """
    for size in _SIZES:
        if _least(page.sections, size) > 2 * most:
            continue  # surely too long: not worth writing out
        text = "\n\n".join(_page(page, size)) + "\n"
        if len(text) <= most:
            return text
    kept: list[str] = []
    room = most - len(_SHORTER) - 3
    for part in _page(page, _SIZES[-1]):
        room -= len(part) + 2
        if room < 0:
            break
        kept.append(part)
    return "\n\n".join([*kept, _SHORTER]) + "\n"


def _least(sections: Sequence[Section], size: Size) -> int:
    """About the fewest characters that the tables take."""
    rows, longest = size
    own = sum(
        min(len(value.text), longest)
        for section in sections
        for block in section.blocks
        if isinstance(block, Table)
        for row in block.rows[:rows]
        for value in row
    )
    return own + sum(_least(section.parts, size) for section in sections)


def _page(page: Page, size: Size) -> Iterator[str]:
    """Parts that each stand by themselves, so that any number of them is whole Markdown."""
    yield f"# {escaped(page.title, 500)}"
    if page.subtitle:
        yield paragraph(page.subtitle)
    drawn = any(_figures(section) for section in page.sections)
    for place, section in enumerate(page.sections):
        if place < _OPEN:
            yield from _section(section, size, 2)
            continue
        inner = [*_blocks(section.blocks, size)]
        for part in section.parts:
            inner += _section(part, size, 3)
        if inner:
            yield folded(section.title, inner)
    if drawn:
        yield f"_{_NOTE}_"


def _figures(section: Section) -> bool:
    own = any(isinstance(block, Figure) for block in section.blocks)
    return own or any(_figures(part) for part in section.parts)


def _section(section: Section, size: Size, level: int) -> Iterator[str]:
    inner = [*_blocks(section.blocks, size)]
    for part in section.parts:
        inner += _section(part, size, min(level + 1, 6))
    if inner:
        yield f"{'#' * level} {escaped(section.title, 500)}"
        yield from inner


def folded(title: str, inner: Sequence[str]) -> str:
    """Markdown behind a heading that unfolds it; empty lines let it be read as Markdown."""
    body = "\n\n".join(inner)
    return f"<details>\n<summary>{in_html(title)}</summary>\n\n{body}\n\n</details>"


def _blocks(blocks: Sequence[Block], size: Size) -> Iterator[str]:
    for block in blocks:
        if isinstance(block, Text):
            texts = [paragraph(t, quoted=block.lead) for t in block.paragraphs if t.strip()]
            yield from ["\n>\n".join(texts)] if block.lead and texts else texts
        elif isinstance(block, Items):
            yield from filter(None, [_bold(block.title), _items(block)])
        elif isinstance(block, CodeBlock):
            yield from filter(None, [_bold(block.title), fenced(block.text)])
        elif isinstance(block, Table):
            yield _table(block, size)
        elif isinstance(block, Overview):
            yield _bold(block.title)
            yield paragraph(block.sentence)
            yield _table(Table(block.anchor, "", block.columns, _told(block.rows)), size)
            if block.chips:
                yield paragraph("; ".join(chip.text for chip in block.chips))
        elif block.shows:
            yield paragraph(block.shows)


def _told(rows: Sequence[Sequence[Value]]) -> list[list[Value]]:
    """Values with what their colour means in words."""
    return [[Value(f"{v.text} ({v.spoken})" if v.spoken else v.text) for v in row] for row in rows]


def _bold(text: str) -> str:
    return f"**{escaped(text)}**" if text.strip() else ""


def _items(block: Items) -> str:
    return "\n".join(
        f"- {line(item)}" if isinstance(item, str) else f"- {_bold(item[0])}: {escaped(item[1])}"
        for item in block.items
    )


def _table(table: Table, size: Size) -> str:
    """A table without the columns that are empty throughout; long ones say what is left out."""
    most, longest = size
    every = range(len(table.columns))
    used = [i for i in every if any(row[i].text for row in table.rows if i < len(row))] or every
    shown = table.rows[:most]
    lines = [
        [escaped(table.columns[i].label) for i in used],
        ["--:" if table.columns[i].number else "---" for i in used],
        *([escaped(row[i].text, longest) if i < len(row) else "" for i in used] for row in shown),
    ]
    text = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
    left = len(table.rows) - len(shown)
    more = f"{left:,} more rows are in the HTML page." if left else ""
    if table.folded:
        return folded(table.caption, list(filter(None, [text, more])))
    return "\n\n".join(filter(None, [_bold(table.caption), text, more]))
