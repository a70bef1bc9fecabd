"""The option ``--trust``, and the question that stands for it at a terminal."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from normbench.streams import say

if TYPE_CHECKING:
    from normbench.protocol.study import Study

TrustOption = Annotated[
    bool,
    typer.Option(
        "--trust", help="Let the protocol's targets run: code of yours that you have read."
    ),
]


def require_trust(study: Study, text: str, *, grant: bool) -> None:
    """See :func:`normbench.workflow.trust.require`; a person at a terminal is asked."""
    from normbench.workflow.trust import require

    person = all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stderr))
    require(study, text, grant=grant, ask=_ask if person else None)


def _ask(told: str) -> bool:
    say(told, err=True)
    say("May this code run? [y/N] ", err=True, end="")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")
