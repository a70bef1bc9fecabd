"""``normbench data``: which data sets there are, fetching them, and what they hold."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from normbench.cli.trusting import TrustOption, require_trust
from normbench.streams import say

if TYPE_CHECKING:
    from normbench.protocol.choice import Choice

app = typer.Typer(help="Data sets: list, fetch, verify, stats.", no_args_is_help=True)

_SOURCE = "A data set by name, or a protocol: then all of its data sets."
_Settings = Annotated[
    list[str] | None,
    typer.Option("--set", help="A parameter of the data set, such as path=photos."),
]
_Json = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]


@app.command("list")
def list_(as_json: _Json = False) -> None:
    """List every data set: what it holds, where it comes from, whether it is here."""
    from normbench.workflow.datasets import listed

    found = list(listed())
    if as_json:
        say(json.dumps(
            [{"name": one.name, "items": one.about.items, "shape": one.about.shape,
              "classes": one.about.classes, "here": one.missing is None, "missing": one.missing,
              "what": one.summary} for one in found], indent=1))  # fmt: skip
        return
    from rich.table import Table

    from normbench.terminal import Terminal

    table = Table("data set", "items", "shape", "classes", "here", "what")
    for one in found:
        about, here = one.about, "yours" if one.missing == "yours" else one.missing is None
        table.add_row(
            one.name,
            "" if about.items is None else f"{about.items:,}",
            "×".join(map(str, about.shape or ())),
            {None: "", 1: "regression"}.get(about.classes, str(about.classes)),
            here if isinstance(here, str) else "yes" if here else "no",
            one.summary,
        )
    Terminal().print(table)
    for one in found:
        if one.missing not in (None, "yours"):
            say(f"{one.name}: {one.missing}")


@app.command()
def fetch(
    name: Annotated[str, typer.Argument(help="A data set that can be fetched.")],
    to: Annotated[
        Path | None, typer.Option("--to", help="The folder that it becomes.", show_default=False)
    ] = None,
    url: Annotated[
        str, typer.Option("--url", help="Another place of the same file, which is checked alike.")
    ] = "",
) -> None:
    """Fetch a data set from the network; what was begun is taken up where it ended."""
    from normbench.catalog import DATASETS
    from normbench.datasets.archives import ARCHIVES, fetch
    from normbench.errors import UsageError

    if name not in ARCHIVES:
        if name not in DATASETS:
            raise UsageError(DATASETS.unknown(name))
        dataset = DATASETS[name].load()
        if hasattr(dataset, "fetch"):
            if url:
                raise UsageError(f"{name} is fetched from where its library says; leave --url out")
            say(f"{name} is in {dataset.fetch(to)}")
            return
        missing = dataset.missing({k: param.default for k, param in DATASETS[name].params.items()})
        here = missing or "it is here: it comes with what is installed, or is made when asked for"
        raise UsageError(
            f"the data set {name} is none that is fetched ({here}); those are {', '.join(ARCHIVES)}"
        )
    with _shown() as progress:
        folder, count = fetch(name, to, url, progress)
    if not count:
        say(f"{folder} is there already; normbench data verify {name} looks at its files")
        return
    say(f"{count:,} files in {folder} ({ARCHIVES[name].terms})")


@app.command()
def verify(
    source: Annotated[str, typer.Argument(help=f"{_SOURCE} Or a results folder.")],
    settings: _Settings = None,
    trust: TrustOption = False,
) -> None:
    """Compare data with what is known of them: files, digests, or what results were made from."""
    from normbench.workflow.datasets import choices_of_results, files_changed, loaded, verified

    recorded: dict[str, Any] = {}
    if (Path(source) / "protocol.json").exists():
        choices, recorded = choices_of_results(Path(source))
    else:
        choices = _chosen(source, settings or [], trust)
    wrong = False
    for choice in choices:
        files = files_changed(choice)
        if files is not None:
            count, bad = files
            wrong |= bool(bad)
            said = f"{len(bad):,} of {count:,} files are not as they were" if bad else "unchanged"
            say(f"{choice.label}: {count:,} files, {said}")
            for name, why in list(bad.items())[:10]:
                say(f"  {name}: {why}")
    for one in verified(choices, recorded, loaded):
        verdict = f"as {one.by} has it" if one.known else "nothing is known to compare it with"
        if not one.same:
            wrong, verdict = True, f"NOT as {one.by} has it ({one.known})"
        say(f"{one.label}: {one.content.sha256} {verdict}")
    if wrong:
        raise typer.Exit(1)


@app.command()
def stats(
    source: Annotated[str, typer.Argument(help=_SOURCE)],
    settings: _Settings = None,
    as_json: _Json = False,
    trust: TrustOption = False,
) -> None:
    """Show sizes, class counts, and the mean and deviation of each channel."""
    from normbench.datasets.about import statistics
    from normbench.workflow.datasets import loaded

    found = {
        choice.label: statistics(loaded(choice))
        for choice in _chosen(source, settings or [], trust)
    }
    if as_json:
        say(json.dumps(found, indent=1))
        return
    for label, values in found.items():
        say(label)
        for key, value in values.items():
            say(f"  {key}: {_text(value)}")


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {one:,}" for key, one in value.items())
    if isinstance(value, list):
        shown = ", ".join(_text(one) for one in value[:20])
        return shown + (f" and {len(value) - 20} more" if len(value) > 20 else "")
    if isinstance(value, float):
        return f"{value:.6g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _chosen(source: str, settings: list[str], trust: bool) -> list[Choice]:
    """The data sets that a name or a protocol means; code of the user's own must be allowed."""
    from normbench.errors import UsageError
    from normbench.protocol.load import load_text, read_protocol
    from normbench.workflow.datasets import chosen, is_protocol, of_study

    if not is_protocol(source):
        return chosen(source, settings)
    if settings:
        raise UsageError("--set is for a data set that is named; a protocol says its parameters")
    path, text = read_protocol(source)
    study = load_text(text, path)
    require_trust(study, text, grant=trust)
    return of_study(study)


@contextmanager
def _shown() -> Iterator[Callable[[str], Callable[[int, int], None]]]:
    """Bars on a terminal for what is done; nothing where there is none."""
    if not sys.stderr.isatty():
        yield lambda _what: lambda _done, _total: None
        return
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn
    from rich.progress import TimeRemainingColumn as Left

    from normbench.terminal import Terminal

    columns = (TextColumn("[bold]{task.description}[/]"), BarColumn(), DownloadColumn(), Left())
    with Progress(*columns, console=Terminal(stderr=True)) as bars:

        def begin(what: str) -> Callable[[int, int], None]:
            task = bars.add_task(what, total=None)
            return lambda done, total: bars.update(task, completed=done, total=total)

        yield begin
