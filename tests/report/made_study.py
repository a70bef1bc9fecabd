"""Made-up studies for tests of the report's content, and what every page of one must be."""

from __future__ import annotations

import re
from collections.abc import Iterator

from normbench.analysis.tables import Analysis, analyse
from normbench.report.blocks import (
    Block,
    Figure,
    Items,
    Overview,
    Page,
    Section,
    Table,
    Text,
)
from normbench.report.page import build_page
from normbench.report.render import render_page
from normbench.results.load import Results
from tests.analysis.made import document, noise

ORDER = ["answer", "completeness", "convergence", "small-batches", "pairwise", "cost", "methods"]
LEVEL = {"none": 0.80, "batch": 0.94, "layer": 0.90, "group": 0.898}
END = {"kind": "final", "metric": "val_error", "window": 1, "failure_score": 0.9}
CLAIMS = [
    {"id": "small", "kind": "interaction", "a": "layer", "b": "batch", "endpoint": END,
     "chapter": "Batch norm breaks.", "expect": "supported", "text": "It does."},
    {"id": "same", "kind": "superiority", "a": {"norm": "layer", "batch_size": 32},
     "b": {"norm": "group", "batch_size": 32}, "endpoint": END},
    {"id": "flat", "kind": "equivalence", "a": "layer", "reference": {"batch_size": 32},
     "margin": 0.02, "endpoint": END},
    {"id": "fast", "kind": "superiority", "a": {"norm": "layer", "batch_size": 8},
     "b": {"norm": "none", "batch_size": 8},
     "endpoint": {"kind": "time", "metric": "val_accuracy", "threshold": 0.5, "window": 1}},
]  # fmt: skip


def accuracy(run) -> float:
    loss = 0.4 / run.cell.batch_size if run.cell.norm.name == "batch" else 0.0
    return LEVEL[run.cell.norm.name] - loss + noise(run)


def curve(run) -> list[float]:
    top = accuracy(run)
    return [0.1, 0.1 + (top - 0.1) * 0.7, top]


def doc(claims=(), experiment=None, **header):
    base = {"name": "made", "title": "Made", "seeds": 10, "window": 1, "thresholds": [0.5],
            "reference": "layer"}  # fmt: skip
    changes = {"protocol": base | header}
    if claims:
        changes["claim"] = list(claims)
    if experiment is not None:
        changes["experiment"] = experiment
    return document(**changes)


def paged(results: Results) -> tuple[Page, Analysis]:
    analysis = analyse(results)
    page = build_page(results, analysis)
    assert_sound(page)
    return page, analysis


def sections(part: Page | Section) -> Iterator[Section]:
    for section in part.sections if isinstance(part, Page) else part.parts:
        yield section
        yield from sections(section)


def blocks(page: Page) -> Iterator[Block]:
    for section in sections(page):
        yield from section.blocks


def spoken(page: Page) -> Iterator[str]:
    for block in blocks(page):
        if isinstance(block, Text):
            yield from block.paragraphs
        elif isinstance(block, Items):
            yield from (i if isinstance(i, str) else i[1] for i in block.items)
        elif isinstance(block, Figure):
            yield from (block.shows, block.reading, block.alt)
        elif isinstance(block, Table):
            yield block.caption
            yield from (value.text for row in block.rows for value in row)
        elif isinstance(block, Overview):
            yield from (block.title, block.sentence, block.alt)
            yield from (chip.text for chip in block.chips)
            yield from (value.text for row in block.rows for value in row)


def assert_sound(page: Page) -> None:
    """What every page must be, whatever it is about."""
    named = [s.anchor for s in sections(page)]
    named += [b.anchor for b in blocks(page) if isinstance(b, Table | Figure | Overview)]
    assert len(named) == len(set(named))
    assert [s.anchor for s in page.sections if s.anchor != "inputs"] == ORDER
    assert 1 <= len(page.lines) <= 5
    for block in blocks(page):
        if isinstance(block, Table | Overview):
            assert {len(row) for row in block.rows} <= {len(block.columns)}
            p = [c.label for c in block.columns if c.label in ("p", "adjusted p")]
            labels = " ".join(c.label for c in block.columns)
            assert not p or ("interval" in labels and "seeds" in labels)
        if isinstance(block, Figure):
            assert all([block.reading, block.shows, block.alt, block.csv])
    for words in [*spoken(page), *page.lines]:
        assert words == words.strip() or not words
        assert not re.search(r"\bnan\b|\binf\b|None|  |\.\.|\( ?\)|-\d+\.\d+ to", words), words
    assert render_page(page) == render_page(page)


def table(page: Page, anchor: str) -> Table:
    return next(b for b in blocks(page) if isinstance(b, Table) and b.anchor == anchor)


def cells(found: Table, *labels: str) -> list[list[str]]:
    places = [[c.label for c in found.columns].index(label) for label in labels]
    return [[row[i].text for i in places] for row in found.rows]
