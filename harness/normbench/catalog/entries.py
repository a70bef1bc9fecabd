"""What an entry of the catalogue is, and how entries are found by name."""

from __future__ import annotations

import difflib
import importlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from normbench.catalog.packages import Found, Origin, Unusable, find
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
    #: Gives the value to keep, or raises ``ValueError`` with the rule; the default is checked too.
    check: Callable[[Any], Any] | None = None
    #: Added when results without it were stored: its default is left out of what is written, so
    #: that runs keep the identity that they had.
    late: bool = False


@dataclass(frozen=True)
class Entry:
    """One component: where its code is, a line for people, its parameters and its traits.

    A probe also says which quantities it ``gives``. A norm may name its ``packed`` form, by which
    the seeds of a cell are one computation: see :mod:`normbench.models.packed.forms`. Its ``title``
    is how it is called within a sentence (default: its name), and its ``colour``, as ``#rrggbb``,
    how it is drawn (default: in one that no other has).
    """

    target: str
    summary: str
    params: Mapping[str, Param] = field(default_factory=dict)
    traits: frozenset[str] = frozenset()
    gives: tuple[Quantity, ...] = ()
    packed: str = ""
    title: str = ""
    colour: str = ""

    def load(self) -> Any:
        """Import the component's code."""
        return _imported(self.target)

    def load_packed(self) -> Any:
        """Import the packed form, which there must be."""
        return _imported(self.packed)


def _imported(target: str) -> Any:
    """What a target, ``module:attribute``, stands for."""
    module, _, attribute = target.partition(":")
    return getattr(importlib.import_module(module), attribute)


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that ``name`` most likely meant, if any is close."""
    found = difflib.get_close_matches(name.lower(), list(known), n=1, cutoff=0.5)
    return found[0] if found else None


def fault_of(entry: Any) -> str | None:
    """Why what another package registers is no sound entry; None where it is one."""
    if not isinstance(entry, Entry):
        return f"it must be a normbench.catalog.Entry; received {type(entry).__name__}"
    if not _is_text(entry.target) or not all(entry.target.partition(":")):
        return f'its target must be a text "module:attribute"; received {entry.target!r}'
    if not _is_text(entry.summary):
        return f"its summary must be a text; received {entry.summary!r}"
    if not isinstance(entry.params, Mapping):
        return f"its params must be a mapping; received {type(entry.params).__name__}"
    for name, param in entry.params.items():
        if not _is_text(name) or not name.isidentifier() or name.startswith(("_", "model_")):
            return f"{name!r} is no name of a parameter"
        if not isinstance(param, Param) or type(param.default) not in (bool, int, float, str):
            return (
                f"its parameter {name} must be a normbench.catalog.Param whose default is a "
                f"number, a text, or true or false; received {param!r}"
            )
        limits = (param.above, param.at_least, param.at_most)
        if any(x is not None and type(x) not in (int, float) for x in limits):
            return f"the limits of its parameter {name} must be numbers; received {limits}"
        if param.choices and param.default not in param.choices:
            return f"the default of its parameter {name} is none of its choices"
    if entry.packed and (not _is_text(entry.packed) or not all(entry.packed.partition(":"))):
        return f'its packed form must be a text "module:attribute"; received {entry.packed!r}'
    if not all(map(_is_text, entry.traits)):
        return f"its traits must be texts; received {entry.traits!r}"
    if not all(isinstance(quantity, Quantity) for quantity in entry.gives):
        return f"what it gives must be normbench.quantities.Quantity; received {entry.gives!r}"
    if not _is_text(entry.title) or not (entry.title.isprintable() and len(entry.title) <= 80):
        return f"its title must be a text of at most 80 characters; received {entry.title!r}"
    if not _is_text(entry.colour) or not re.fullmatch("(#[0-9a-f]{6})?", entry.colour):
        return f"its colour must be a text such as #d55e00; received {entry.colour!r}"
    return None


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


class Catalog(Mapping[str, Entry]):
    """Components of one kind by name, the built-in ones and those of other packages.

    One of another package that cannot be used is left out, and refused by name with its reason.
    """

    def __init__(self, kind: str, built_in: Mapping[str, Entry]) -> None:
        self.kind = kind
        self._built_in = dict(built_in)

    @cached_property
    def _found(self) -> Found:
        found = find(self.kind, self._built_in)
        for name, entry in list(found.loaded.items()):
            fault = fault_of(entry)
            if fault is not None:
                found.reject(self.kind, name, found.origins[name], fault)
        return found

    @cached_property
    def _entries(self) -> dict[str, Entry]:
        return {**self._built_in, **self._found.loaded}

    @property
    def unusable(self) -> Mapping[str, Unusable]:
        """What other packages register and nothing can use, by name."""
        return self._found.unusable

    def built_in(self, name: str) -> bool:
        """Whether a component is normbench's own."""
        return name in self._entries and self._entries[name] is self._built_in.get(name)

    @property
    def complete(self) -> list[str]:
        """The components that are something by themselves.

        Those are all but the ones that need a target, or a network of the user's own.
        """
        return [
            name
            for name, entry in self.items()
            if "target" not in entry.params and OWN_NETWORKS not in entry.traits
        ]

    def origin(self, name: str) -> Origin:
        """Where a component of another package comes from."""
        known = self._found.origins.get(name)
        module = self[name].target.partition(":")[0]
        return known or Origin(module.partition(".")[0], "", module)

    def reject(self, name: str, reason: str) -> None:
        """Leave a component of another package out from now on."""
        self._found.reject(self.kind, name, self.origin(name), reason)
        self._entries.pop(name, None)

    def __getitem__(self, name: str) -> Entry:
        try:
            return self._entries[name]
        except KeyError:
            raise UsageError(self.unknown(name)) from None

    def unknown(self, name: str) -> str:
        """What to say of a name that is not in the catalogue: why, and what is."""
        if name in self.unusable:
            return f"{self.unusable[name]}; mend or uninstall that package"
        close = nearest(name, self._entries)
        hint = f"; did you mean {close!r}?" if close else "."
        return f"unknown {self.kind} {name!r}{hint} Known: {', '.join(self._entries)}"

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
#: The model takes sequences of tokens, and gives outputs at each of them.
TOKENS = "tokens"
#: The probe is about linear regressions, and gives nothing for any other model.
LINEAR_REGRESSION = "linear-regression"
#: The norm changes a layer's weights instead of standing behind it: it is built from that layer.
WEIGHTS = "weights"
#: The norm is what a network of the user's own has: there is none at the sites of built-in models.
OWN_NETWORKS = "own-networks"
#: A norm that changes weights stands behind the layers besides: its code takes a site's shape, too.
SITES_TOO = "sites-too"
