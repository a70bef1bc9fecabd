"""The whole report as plain data: its sections in the order in which they are read."""

from __future__ import annotations

from dataclasses import replace
from types import ModuleType

from normbench.analysis.boundary import Boundary
from normbench.analysis.tables import Analysis
from normbench.report import words
from normbench.report.blocks import Page, Section, Table
from normbench.report.boundary import missing
from normbench.report.sections import (
    answer,
    completeness,
    convergence,
    cost,
    inputs,
    mechanisms,
    methods,
    pairwise,
    small_batches,
)
from normbench.report.source import Source
from normbench.results.load import Results

#: The sections in order, each with what stands in the place of one that cannot be made.
_SECTIONS: tuple[tuple[str, str, ModuleType], ...] = (
    ("answer", "Answer", answer),
    ("completeness", "Completeness", completeness),
    ("convergence", "Convergence speed", convergence),
    ("small-batches", "Small batches", small_batches),
    ("inputs", "Input normalization", inputs),
    ("mechanisms", "Mechanisms", mechanisms),
    ("pairwise", "Pairwise differences and learning rates", pairwise),
    ("cost", "Cost", cost),
    ("methods", "Methods", methods),
)


def slim(table: Table) -> Table:
    """The table without columns that are empty in every row; no filter by what never changes."""
    if not table.rows:
        return replace(table, filter_by=None)
    full = [
        i
        for i in range(len(table.columns))
        if any(row[i].text or row[i].hint for row in table.rows)
    ]
    by = table.filter_by
    if by is not None:
        by = full.index(by) if len({row[by].text for row in table.rows}) > 1 else None
    return replace(
        table, columns=[table.columns[i] for i in full], filter_by=by,
        rows=[[row[i] for i in full] for row in table.rows],
    )  # fmt: skip


def _slimmed(section: Section) -> Section:
    blocks = [slim(b) if isinstance(b, Table) else b for b in section.blocks]
    return replace(section, blocks=blocks, parts=[_slimmed(part) for part in section.parts])


def _section(source: Source, anchor: str, title: str, module: ModuleType) -> Section | None:
    """A section, or what stands in its place where it cannot be made."""

    def make() -> Section | None:
        made: Section | None = module.section(source)
        return made

    def otherwise(why: str) -> Section | None:
        return Section(anchor, title, [missing("this section", why)])

    return source.boundary.attempt(f"the section {title}", make, otherwise)


def build_page(results: Results, analysis: Analysis, *, tables: str = "") -> Page:
    """The report on one set of results; the same results give the same page.

    ``tables`` is the folder beside the page in which the tables are saved, if they are. A section,
    a part or a figure that cannot be made is said in its place; bugs join those of the analysis.
    """
    source = Source(results, analysis, tables, Boundary(analysis.bugs))
    found = [_section(source, *named) for named in _SECTIONS]
    lines = source.boundary.attempt(
        "the answer for the terminal",
        lambda: answer.lines(source),
        lambda why: [f"The answer could not be made: {why}."],
    )
    return Page(
        title=source.study.title,
        subtitle=" ".join(
            [
                *(f"{words.capital(one)}." for one in results.imported),
                *source.study.description.split(),
            ]
        ),
        sections=[_slimmed(section) for section in found if section is not None],
        lines=lines,
    )
