"""Writing the report: the page itself, and its tables in a folder beside it."""

from __future__ import annotations

from pathlib import Path

from normbench.analysis.tables import Analysis
from normbench.report.page import build_page
from normbench.report.render import render_page
from normbench.results.files import is_special, make_folder, write_text
from normbench.results.load import Results


def write_report(results: Results, analysis: Analysis, path: Path) -> list[str]:
    """Write the page to ``path`` and its tables to ``<path without .html>_tables``.

    A pipe or a device gets the page alone. Returns the lines that matter, for the terminal.
    """
    if is_special(path):
        page = build_page(results, analysis)
        write_text(path, render_page(page))
        return list(page.lines)
    tables = path.with_name(path.stem + "_tables")
    page = build_page(results, analysis, tables=tables.name)
    text = render_page(page)
    make_folder(path.parent)
    analysis.save(tables)
    write_text(path, text)
    return list(page.lines)
