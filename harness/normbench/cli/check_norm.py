"""``normbench check-norm``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from normbench.streams import say

if TYPE_CHECKING:
    from normbench.conformance.own import Examination

_MARKS = {"passed": "ok    ", "failed": "FAILED", "not judged": "-     "}


def check_norm(
    target: Annotated[
        str,
        typer.Argument(
            metavar="TARGET", help="The norm, as mynorm.py:PowerNorm or mypackage.norms:PowerNorm."
        ),
    ],
    args: Annotated[
        str,
        typer.Option(
            "--args",
            metavar="TABLE",
            help="What it is called with, as in a protocol: '{ channels = \"$channels\", p = 3 }' "
            "[default: the channels alone].",
        ),
    ] = "{}",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")] = False,
) -> None:
    """Try whether a norm of your own can be compared with others, and tell all that is wrong.

    Naming it here is leave to run it. Exit status 1 where a check fails.
    """
    given = args_given(args)
    from normbench.conformance.own import examine_target

    found = examine_target(target, given)
    if as_json:
        say(json.dumps(found.record(), indent=1))
    else:
        _print(found)
    if not found.passed:
        raise typer.Exit(1)


def args_given(text: str) -> Any:
    """What ``--args`` says. Raises :class:`UsageError` where it is no table."""
    import tomllib

    from normbench.catalog.args import args_of
    from normbench.errors import UsageError

    try:
        return args_of(tomllib.loads(f"args = {text}")["args"])
    except ValueError as error:
        raise UsageError(
            f"--args is a TOML table, such as '{{ p = 3 }}'; received {text!r} ({error})"
        ) from None


def _print(found: Examination) -> None:
    say(found.norm)
    for one in found.findings:
        say(f"  {_MARKS[one.state]} {one.check}" + (
            f": {one.said[0]}" if one.state == "not judged" else ""
        ))  # fmt: skip
        for said in one.said if one.state == "failed" else ():
            say(f"           {said}")
    for known, yes, no in (
        (found.batch_independent, "a sample's output does not depend on the rest of its batch",
         "a sample's output depends on the rest of its batch"),
        (found.stateless, "training keeps nothing in buffers", "training changes its buffers"),
    ):  # fmt: skip
        if known is not None:
            say(f"  {yes if known else no}")
    for kind, why in found.unfit.items():
        say(f"  not for {kind}: {why}")
    if found.untried:
        say(f"  engine and speed: not tried: {found.untried}")
        return
    if found.alone:
        say(f"  engine: plain, run by run: {found.alone}")
    else:
        say("  engine: stacked, seeds are trained together")
    if found.step_seconds is not None and found.batch_seconds is not None:
        ratio = found.step_seconds / found.batch_seconds
        say(
            f"  speed: a training step of {found.model} takes {1e3 * found.step_seconds:.2f} ms, "
            f"{ratio:.2f} times that with batch norm"
        )
