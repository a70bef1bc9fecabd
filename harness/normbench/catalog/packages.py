"""Components of other packages: found by their entry points, each judged by itself.

What is wrong with one of them never ends a command: it is left out, said once, and refused where
something names it.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import sys
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from importlib.metadata import Distribution, EntryPoint, distributions, entry_points
from typing import Any

from normbench.place import told

log = logging.getLogger(__name__)
_said: set[str] = set()


@dataclass(frozen=True)
class Origin:
    """Where a component of another package comes from; ``module`` is that of its entry point."""

    distribution: str
    version: str
    module: str

    @property
    def package(self) -> str:
        """The package with its version, for people."""
        return f"{self.distribution} {self.version}".strip() or "(unknown)"


@dataclass(frozen=True)
class Unusable:
    """A registered component that cannot be used, and why."""

    kind: str
    name: str
    origin: Origin
    reason: str

    def __str__(self) -> str:
        return (
            f"the {self.kind} {self.name!r} of the package {self.origin.package} cannot be used: "
            f"{self.reason}"
        )

    def say(self) -> None:
        """Warn of it, once in a command: not in its workers too."""
        if str(self) not in _said and multiprocessing.parent_process() is None:
            _said.add(str(self))
            log.warning("warning: %s", self)


@dataclass
class Found:
    """What other packages register of one kind: loaded objects, their origins, and the rest."""

    loaded: dict[str, Any] = field(default_factory=dict)
    origins: dict[str, Origin] = field(default_factory=dict)
    unusable: dict[str, Unusable] = field(default_factory=dict)

    def reject(self, kind: str, name: str, origin: Origin, reason: str) -> None:
        """Leave a component out, and say so."""
        self.loaded.pop(name, None)
        self.unusable[name] = Unusable(kind, name, origin, reason)
        self.unusable[name].say()


def find(kind: str, taken: Collection[str]) -> Found:
    """Load what is registered of a kind under names that are not ``taken``."""
    found = Found()
    for point in _points(f"normbench.{kind.replace(' ', '')}s"):
        name, origin = str(point.name), _origin(point)
        if name in taken:
            # the built-in one stays as it is: what is wrong is the other package
            Unusable(kind, name, origin, "its name is taken by one of normbench's own").say()
            continue
        if name in found.origins:
            both = f"the packages {found.origins[name].package} and {origin.package} register it"
            found.reject(kind, name, origin, f"{both}; uninstall one of them")
            continue
        found.origins[name] = origin
        try:
            # what a package prints when it is imported is no part of a command's output
            with contextlib.redirect_stdout(sys.stderr):
                found.loaded[name] = point.load()
        except (Exception, SystemExit, GeneratorExit) as error:
            found.reject(kind, name, origin, told(error, {origin.module.partition(".")[0]}))
    return found


def _points(group: str) -> Iterator[EntryPoint]:
    with contextlib.suppress(Exception):  # where some package's list cannot be read, it is named
        yield from list(entry_points(group=group))
        return
    seen = set()
    for distribution in distributions():
        name = _fact(distribution, "name")
        if name and name in seen:
            continue
        seen.add(name)
        try:
            yield from distribution.entry_points.select(group=group)
        except Exception as error:
            origin = Origin(name, _fact(distribution, "version"), "")
            Unusable("list of entry points", "entry_points.txt", origin, told(error)).say()


def _origin(point: EntryPoint) -> Origin:
    distribution = getattr(point, "dist", None)
    module = str(point.value).partition(":")[0].strip()
    if distribution is None:
        return Origin(module.partition(".")[0], "", module)
    return Origin(_fact(distribution, "name"), _fact(distribution, "version"), module)


def _fact(distribution: Distribution, fact: str) -> str:
    """The name or the version of a distribution; empty where its metadata lack it."""
    try:
        return str(getattr(distribution, fact) or "")
    except Exception:
        return ""
