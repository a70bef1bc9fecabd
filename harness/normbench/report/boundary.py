"""Figures, tables, parts and sections that stand even where one of them cannot be made."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

from normbench.protocol.study import Experiment
from normbench.report.blocks import Section, Text
from normbench.report.source import Source

P = ParamSpec("P")
T = TypeVar("T")


def missing(what: str, why: str) -> Text:
    """What stands in the place of something that could not be made."""
    return Text([f"{what[:1].upper()}{what[1:]} could not be made: {why}."])


def block(
    what: str,
) -> Callable[[Callable[Concatenate[Source, P], T]], Callable[Concatenate[Source, P], T | Text]]:
    """A figure or table, or a line that says why it could not be made; ``what`` names it."""

    def decorate(
        make: Callable[Concatenate[Source, P], T],
    ) -> Callable[Concatenate[Source, P], T | Text]:
        @wraps(make)
        def made(source: Source, /, *args: P.args, **kwargs: P.kwargs) -> T | Text:
            series = next((arg.title for arg in args if isinstance(arg, Experiment)), "")
            name = f"{what} of {series}" if series else what

            def otherwise(why: str) -> T | Text:
                return missing(name, why)

            return source.boundary.attempt(name, lambda: make(source, *args, **kwargs), otherwise)

        return made

    return decorate


def part(
    anchor: str,
) -> Callable[
    [Callable[[Source, Experiment], Section | None]], Callable[[Source, Experiment], Section | None]
]:
    """The part of a section that is about one experiment; ``anchor`` is the section's."""

    def decorate(
        make: Callable[[Source, Experiment], Section | None],
    ) -> Callable[[Source, Experiment], Section | None]:
        @wraps(make)
        def made(source: Source, series: Experiment) -> Section | None:
            name = f"the part on {series.title} of section {anchor}"

            def otherwise(why: str) -> Section | None:
                title = series.title
                return Section(f"{anchor}-{series.name}", title, [missing(name, why)])

            return source.boundary.attempt(name, lambda: make(source, series), otherwise)

        return made

    return decorate
