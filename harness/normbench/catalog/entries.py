"""What an entry of the catalogue is, and how entries are found by name."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import entry_points
from typing import Any

from normbench.errors import UsageError
from normbench.quantities import Quantity

Scalar = bool | int | float | str


@dataclass(frozen=True)
class Param:
    """One parameter of a component: its default, its range and what it means."""

    default: Scalar
    doc: str
    above: float | None = None
    at_least: float | None = None
    at_most: float | None = None
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Entry:
    """One component: where its code is, a line for people, its parameters and its traits.

    A probe also says which quantities it ``gives``.
    """

    target: str
    summary: str
    params: Mapping[str, Param] = field(default_factory=dict)
    traits: frozenset[str] = frozenset()
    gives: tuple[Quantity, ...] = ()

    def load(self) -> Any:
        """Import the component's code."""
        module, _, attribute = self.target.partition(":")
        return getattr(importlib.import_module(module), attribute)


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that ``name`` most likely meant, if any is close."""
    found = difflib.get_close_matches(name.lower(), list(known), n=1, cutoff=0.5)
    return found[0] if found else None


class Catalog(Mapping[str, Entry]):
    """Components of one kind by name, the built-in ones and those of other packages."""

    def __init__(self, kind: str, built_in: Mapping[str, Entry]) -> None:
        self.kind = kind
        self._built_in = dict(built_in)

    @cached_property
    def _entries(self) -> dict[str, Entry]:
        entries = dict(self._built_in)
        for point in entry_points(group=f"normbench.{self.kind.replace(' ', '')}s"):
            if point.name in entries:
                raise UsageError(
                    f"an installed package registers the {self.kind} {point.name!r}, which is "
                    f"taken already (by {entries[point.name].target}); rename or uninstall it"
                )
            entry = point.load()
            if not isinstance(entry, Entry):
                raise UsageError(
                    f"the entry point of the {self.kind} {point.name!r} must be a "
                    f"normbench.catalog.Entry; received {type(entry).__name__} ({point.value})"
                )
            entries[point.name] = entry
        return entries

    def __getitem__(self, name: str) -> Entry:
        try:
            return self._entries[name]
        except KeyError:
            close = nearest(name, self._entries)
            hint = f"; did you mean {close!r}?" if close else "."
            known = ", ".join(self._entries)
            raise UsageError(f"unknown {self.kind} {name!r}{hint} Known: {known}") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)


#: The norm computes from other samples of the batch, so that it depends on the batch size and
#: is evaluated with running, recomputed and batch statistics.
BATCH_STATISTICS = "batch-statistics"
#: A sample's output is the same whatever else is in the batch: the conformance suite checks it.
BATCH_INDEPENDENT = "batch-independent"
#: The probe is about linear regressions, and gives nothing for any other model.
LINEAR_REGRESSION = "linear-regression"
#: The norm changes a layer's weights instead of standing behind it: it is built from that layer.
WEIGHTS = "weights"
#: A norm that changes weights stands behind the layers besides: its code takes a site's shape, too.
SITES_TOO = "sites-too"
