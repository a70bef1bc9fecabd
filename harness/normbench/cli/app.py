"""The Typer application and its commands."""

from __future__ import annotations

from typing import Annotated

import typer

from normbench.cli import (
    analyse,
    check,
    check_norm,
    data,
    diagnose,
    import_runs,
    init,
    inspect,
    plan,
    report,
    run,
    schema,
    status,
    time,
)
from normbench.streams import say

app = typer.Typer(
    name="normbench",
    help="Which normalization should this network use, at this batch size, and how sure are we?",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Start with: normbench run quick, then normbench report",
)


def _version(show: bool) -> None:
    if show:
        from normbench import __version__

        say(f"normbench {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Options before the command."""
    del version


app.command("init")(init.init)
app.command("run")(run.run)
app.command("plan")(plan.plan)
app.command("inspect")(inspect.inspect)
app.command("status")(status.status)
app.command("time")(time.time)
app.command("report")(report.report)
app.command("analyse")(analyse.analyse)
app.command("check")(check.check)
app.command("check-norm")(check_norm.check_norm)
app.command("import")(import_runs.import_runs)
app.command("diagnose")(diagnose.diagnose)
app.command("schema")(schema.schema)
app.add_typer(data.app, name="data")
