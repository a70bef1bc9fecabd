"""``reports/index.html``: the list of all reports in a folder, with what each of them found.

Beside every page lies a small record, ``NAME.report.json``, from which the list is made anew at
every report. A page whose record is gone or damaged is listed by its name alone; a record whose
page is gone is passed over.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from filelock import FileLock, Timeout

from normbench.analysis.tables import Analysis
from normbench.analysis.versus import Versus
from normbench.errors import ResultsError, WorkError
from normbench.report.blocks import Page
from normbench.results.files import (
    make_folder,
    open_stored,
    read_object,
    write_object,
    write_text,
)
from normbench.results.load import Results

NAME = "index.html"
RECORD_VERSION = 1
#: How the list begins, and so how it is told from a page that somebody else put there.
_START = (
    '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta name="generator" content="normbench index">'
)
_WAIT_SECONDS = 20.0


@dataclass(frozen=True)
class Record:
    """What the list says of a report: its title, when its results were computed, what it found."""

    title: str
    when: str = ""
    runs: Mapping[str, int] = field(default_factory=dict)
    verdicts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class ListedReport:
    """A line of the list. ``known`` is false where the report's record cannot be read."""

    link: str
    name: str
    record: Record
    known: bool

    @property
    def when(self) -> str:
        """The time to the minute, for people."""
        try:
            found = datetime.datetime.fromisoformat(self.record.when)
        except ValueError:
            return self.record.when
        return found.strftime("%Y-%m-%d %H:%M")


def record_of(results: Results, analysis: Analysis) -> Record:
    """The record of a report."""
    return Record(
        results.study.title,
        computed(results),
        _counts(results.runs["status"].value_counts().to_dict()),
        _counts(analysis["claims"]["verdict"].value_counts().to_dict()),
    )


def record_of_comparison(page: Page, a: Results, b: Results, found: Versus) -> Record:
    """The record of a comparison: the runs of both sides, and its verdicts on the cells."""
    runs = (a.runs["status"].value_counts() + b.runs["status"].value_counts()).dropna()
    when = max(computed(a), computed(b))
    return Record(page.title, when, _counts(runs.to_dict()), _counts(found.counts()))


def computed(results: Results) -> str:
    """When the results were last worked on; empty where that was not recorded."""
    times = [i.get("ended") or i.get("started") for i in results.provenance["invocations"]]
    return max((time for time in times if isinstance(time, str)), default="")


def _counts(found: Mapping[Any, Any]) -> dict[str, int]:
    return {str(key): int(n) for key, n in sorted(found.items(), key=lambda x: (-x[1], str(x[0])))}


def is_ours(index: Path) -> bool:
    """Whether the file is a list of reports, whole or cut short, or there is none yet."""
    try:
        with open_stored(index) as file:
            start = file.read(len(_START))
    except FileNotFoundError:
        return True
    except (OSError, ResultsError):
        return False
    return _START.encode().startswith(start)


def keep_index(page: Path, record: Record, *, renew: bool = True) -> Path | None:
    """Store the record of a page and make the list of its folder anew; gives the list's path.

    Nothing is written, and None given, where the folder has another page of the list's name.
    Without ``renew`` the record alone is stored, for the next list.
    Raises :class:`~normbench.errors.WorkError` where a file cannot be written.
    """
    folder = page.parent
    index = folder / NAME
    if page.name == NAME or not is_ours(index):
        return None
    make_folder(folder)
    content = {"version": RECORD_VERSION, **asdict(record)}
    write_object(_record_path(page), content)
    if not renew:
        return None
    # Whoever holds the lock last sees all records, so that no report is missing in the list.
    try:
        with FileLock(folder / ".lock", timeout=_WAIT_SECONDS):
            write_text(index, _rendered(entries(folder)))
    except Timeout:
        raise WorkError(
            f"{index} is being written by another process for more than {_WAIT_SECONDS:.0f} s; "
            "the report itself is written: run the same command again, or give --no-index"
        ) from None
    return index


def entries(folder: Path) -> list[ListedReport]:
    """All reports of a folder, the latest first."""
    found = []
    for page in sorted(folder.glob("*.html")):
        if page.name != NAME and page.is_file():
            record = _read(_record_path(page))
            shown = record or Record(page.stem)
            found.append(ListedReport(quote(page.name), page.stem, shown, record is not None))
    return sorted(found, key=lambda entry: entry.record.when, reverse=True)


def _record_path(page: Path) -> Path:
    return page.with_name(f"{page.stem}.report.json")


def _read(path: Path) -> Record | None:
    """The record in a file; None where there is none, or where it is damaged or newer."""
    try:
        content = read_object(path, "the report is then listed by its name") or {}
    except ResultsError:
        return None
    title, when = content.get("title"), content.get("when")
    counts = [content.get(name) for name in ("runs", "verdicts")]
    whole = isinstance(title, str) and isinstance(when, str) and all(map(_is_counts, counts))
    if content.get("version") != RECORD_VERSION or not whole:
        return None
    return Record(str(title), str(when), *(dict(found) for found in counts if found is not None))


def _is_counts(value: Any) -> bool:
    return isinstance(value, dict) and all(type(n) is int for n in value.values())


def _rendered(listed: list[ListedReport]) -> str:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    from normbench.report.clean import cleaned, say

    environment = Environment(
        loader=PackageLoader("normbench.report", "templates"), autoescape=True,
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, finalize=cleaned,
    )  # fmt: skip
    environment.filters["say"] = say
    return _START + environment.get_template("index.html").render(entries=listed)
