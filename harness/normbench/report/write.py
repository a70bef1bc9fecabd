"""A report, or a comparison of two result sets, in whichever form it is asked for."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from normbench.analysis.boundary import Boundary
from normbench.analysis.tables import Analysis
from normbench.analysis.versus import compare
from normbench.protocol.names import folder_name
from normbench.report.blocks import Page
from normbench.report.html import write_report
from normbench.report.index import Record, record_of, record_of_comparison
from normbench.report.markdown import render_markdown
from normbench.report.versus import names_of, versus_page
from normbench.results.files import is_special, write_text
from normbench.results.load import Results


@dataclass(frozen=True)
class Report:
    """What was found, ready to be written: as a page with its tables, or as Markdown.

    ``bugs`` are what could not be made for no reason in the data, once it was written.
    """

    page: Callable[[], Page]
    write_page: Callable[[Path], list[str]]
    record: Record
    bugs: list[str]

    def html(self) -> str:
        """The report as a page, by itself."""
        from normbench.report.render import render_page

        return render_page(self.page())

    def markdown(self) -> tuple[str, list[str]]:
        """The report as Markdown, and the lines that matter."""
        page = self.page()
        return render_markdown(page), list(page.lines)


def report_name(a: Results, b: Results | None = None) -> str:
    """The name of a report's files: the study's, or both folders' names."""
    if b is None:
        return folder_name(a.study.name)
    return "-vs-".join(re.sub(r"[^\w.-]+", "-", name) for name in names_of(a.folder, b.folder))


def reported(results: Results, analysis: Analysis) -> Report:
    """The report of one result set."""

    def page() -> Page:
        from normbench.report.page import build_page

        return build_page(results, analysis)

    def write(path: Path) -> list[str]:
        return write_report(results, analysis, path)

    return Report(page, write, record_of(results, analysis), analysis.bugs)


def compared(a: Results, b: Results) -> Report:
    """The comparison of two result sets.

    Raises :class:`~normbench.errors.ResultsError` where they share no cell.
    """
    found = compare(a, b)
    boundary = Boundary()
    page = versus_page(a, b, found, boundary)

    def write(path: Path) -> list[str]:
        from normbench.report.render import render_page

        if not is_special(path):
            Analysis(found.tables).save(path.with_name(path.stem + "_tables"))
        write_text(path, render_page(page))
        return list(page.lines)

    return Report(lambda: page, write, record_of_comparison(page, a, b, found), boundary.bugs)
