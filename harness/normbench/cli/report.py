"""``normbench report``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from normbench.cli.options import end_with
from normbench.cli.told import FreezeOption, notes
from normbench.streams import say

if TYPE_CHECKING:
    from normbench.report.write import Report

_FORMATS = ("html", "md")


def report(
    a: Annotated[
        str,
        typer.Argument(
            metavar="[A]", help="A results folder; of a folder with several, the latest."
        ),
    ] = "results",
    b: Annotated[
        str | None,
        typer.Argument(metavar="[B]", help="Other results, to say what changed from A to B."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The file [reports/NAME.html].")
    ] = None,
    form: Annotated[
        str | None,
        typer.Option(
            "--format", metavar="html|md",
            help="html, or md for a pull request: to the terminal, or to --output.",
        ),
    ] = None,
    show: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    freeze: FreezeOption = False,
    no_index: Annotated[
        bool, typer.Option("--no-index", help="Leave reports/index.html as it is.")
    ] = False,
) -> None:  # fmt: skip
    """Compute the statistics of A and write a report; with B, what changed from A to B."""
    if not a or b == "":
        _refuse("a comparison needs both A and B, each the name of a folder", f"A {a!r}, B {b!r}",
                "normbench report A B")  # fmt: skip
    markdown = _format(form, output) == "md"
    if show and markdown:
        _refuse("--open shows a page", "Markdown", "leave out --open, or --format md")
    from normbench.report.place import check_place, is_standard_output
    from normbench.report.told import analyse
    from normbench.report.write import compared, report_name, reported
    from normbench.results.files import make_folder
    from normbench.results.load import load
    from normbench.workflow import note_look, pool

    results, other = load(a), load(b) if b is not None else None
    path = output
    if path is None and not markdown:
        path = Path("reports") / f"{report_name(results, other)}.html"
    printed = path is not None and is_standard_output(path)
    if path is not None and not printed:
        check_place(path)
        make_folder(path.parent)  # before the statistics: they take a while
    listed = path is not None and not markdown and _is_listed(path, no_index)
    results = pool(results, freeze=freeze)
    found = reported(results, analyse(results)) if other is None else compared(results, other)
    for seen in filter(None, (results, other)):
        note_look(seen, "report")
    if path is None or printed:
        say(found.markdown()[0] if markdown else found.html(), end="")
        end_with(found.bugs)
        return
    for line in _write_markdown(found, path) if markdown else found.write_page(path):
        say(line)
    for note in notes(results) if other is None else ():
        say(note)
    if listed:
        from normbench.report.index import keep_index

        keep_index(path, found.record, renew=not no_index)
    say(f"report: {path.resolve().as_uri()}")
    if show:
        _open(path)
    end_with(found.bugs)


def _refuse(rule: str, received: str, fix: str) -> None:
    from normbench.errors import UsageError

    raise UsageError(f"{rule}\n    received: {received}\n    likely fix: {fix}")


def _format(form: str | None, output: Path | None) -> str:
    """The format that was asked for, or else that of the file's name."""
    if form is None:
        return "md" if output is not None and output.suffix in (".md", ".markdown") else "html"
    if form not in _FORMATS:
        _refuse("--format is html or md", repr(form), "--format md")
    return form


def _is_listed(path: Path, no_index: bool) -> bool:
    """Whether the folder of a page keeps a list: ``reports`` does, and any that has one."""
    from normbench.report import index
    from normbench.results.files import is_special

    place = path.parent / index.NAME
    here = path.parent.resolve() == Path("reports").resolve()
    if here and path.name == index.NAME and not no_index:
        _refuse(
            f"{place} is the list of all reports", f"a report of that name: {path}",
            "name another file with --output, or give --no-index",
        )  # fmt: skip
    if not index.is_ours(place):
        if here and not no_index:
            say(f"{place} is no list of reports and is left as it is", err=True)
        return False
    return not is_special(path) and (here or place.exists())


def _write_markdown(found: Report, path: Path) -> list[str]:
    from normbench.results.files import write_text

    text, lines = found.markdown()
    write_text(path, text)
    return lines


def _open(path: Path) -> None:
    import webbrowser

    if not webbrowser.open(path.resolve().as_uri()):
        say(f"no browser was found to open {path}; open it by hand", err=True)
