"""The whole report as plain data: its sections in the order in which they are read."""

from __future__ import annotations

from dataclasses import replace

from normbench.analysis.tables import Analysis
from normbench.report.blocks import Page, Section, Table
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


def build_page(results: Results, analysis: Analysis, *, tables: str = "") -> Page:
    """The report on one set of results; the same results give the same page.

    ``tables`` is the folder beside the page in which the tables are saved, if they are.
    """
    source = Source(results, analysis, tables)
    found = [
        answer.section(source),
        completeness.section(source),
        convergence.section(source),
        small_batches.section(source),
        inputs.section(source),
        mechanisms.section(source),
        pairwise.section(source),
        cost.section(source),
        methods.section(source),
    ]
    return Page(
        title=source.study.title,
        subtitle=" ".join(source.study.description.split()),
        sections=[_slimmed(section) for section in found if section is not None],
        lines=answer.lines(source),
    )
