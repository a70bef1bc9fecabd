"""Writing the report: the page itself, and its tables in a folder beside it."""

from __future__ import annotations

from pathlib import Path

from normbench.analysis.tables import Analysis
from normbench.report.page import build_page
from normbench.report.render import render_page
from normbench.results.files import write_text
from normbench.results.load import Results


def write_report(results: Results, analysis: Analysis, path: Path) -> list[str]:
    """Write the page to ``path`` and its tables to ``<path without .html>_tables``.

    Returns the lines that matter, for the terminal.
    """
    tables = path.with_name(path.stem + "_tables")
    page = build_page(results, analysis, tables=tables.name)
    text = render_page(page)
    path.parent.mkdir(parents=True, exist_ok=True)
    analysis.save(tables)
    write_text(path, text)
    return list(page.lines)
