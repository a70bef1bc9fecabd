"""Writing the report: the page itself, and its tables in a folder beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from normbench.analysis.tables import Analysis
from normbench.report.context import context
from normbench.results.files import write_text
from normbench.results.load import Results


def render(values: dict[str, Any]) -> str:
    """The page as text; every value is escaped, figures are SVG made by this package."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("normbench.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html").render(**values)


def write_report(results: Results, analysis: Analysis, path: Path) -> list[str]:
    """Write the page to ``path`` and its tables to ``<path without .html>_tables``.

    Returns the lines that matter, for the terminal.
    """
    status = results.runs["status"]
    values = context(results, analysis)
    path.parent.mkdir(parents=True, exist_ok=True)
    tables = path.with_name(path.stem + "_tables")
    values["tables_folder"] = tables.name
    values["table_names"] = list(analysis.tables)
    analysis.save(tables)
    write_text(path, render(values))
    counts = ", ".join(f"{n} {s}" for s, n in status.value_counts().items())
    return [f"{results.study.title}: {counts}", *_answers(values)]


def _answers(values: dict[str, Any], most: int = 4) -> list[str]:
    sentences = [s for section in values["sections"] for s in section.sentences]
    decided = [s for s in sentences if "undecided" not in s and "no conclusion" not in s]
    return decided[:most] or sentences[:most]
