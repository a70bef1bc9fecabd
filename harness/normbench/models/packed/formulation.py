"""How a packed net computes: the ways of its convolutions, rows made in advance, block sizes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast

from normbench.errors import UsageError
from normbench.models.packed.convolution import GROUPED, PARTLY_GROUPED, TILED, Way, Ways

_DEFAULT: Ways = ("im", "im", "im")


@dataclass(frozen=True)
class Formulation:
    """A variant, read: ways by the convolution's name, ``default`` for the others.

    ``rows``: the data set is kept as the rows of the first convolution's windows. ``block``: so
    many members are computed together, 0 for as many as suit the shapes.
    """

    ways: Mapping[str, Ways] = field(default_factory=dict)
    default: Ways = _DEFAULT
    rows: bool = False
    block: int = 0

    def ways_of(self, name: str) -> Ways:
        """The ways of a convolution."""
        return self.ways.get(name, self.default)


def _ways(text: str, variant: str) -> Ways:
    parts = text.split("/")
    parts = parts * 3 if len(parts) == 1 else parts
    known = len(parts) == 3 and all(
        part in ("im", "mk") or (part == "fold" and place == 1) for place, part in enumerate(parts)
    )
    known |= tuple(parts) == PARTLY_GROUPED
    if not known and text not in (TILED, GROUPED):
        raise UsageError(
            f"a convolution's formulation is im or mk, for all passes or as forward/input/weight "
            f"(input also fold), {TILED} or {GROUPED} for all, or {'/'.join(PARTLY_GROUPED)}; "
            f"received {text!r} in the variant {variant!r}"
        )
    return cast(Ways, tuple(cast(Way, part) for part in parts))


def parse(variant: str) -> Formulation:
    """Read a variant: parts with commas between them, in any order.

    ``im`` and ``mk`` stand for all convolutions, ``im/mk/im`` for their forward pass, input's and
    weight's gradient; ``conv1=mk`` for one of them; ``rows`` and ``block=4`` as in
    :class:`Formulation`. ``wg4`` stands for Winograd's convolutions where the layer has that form,
    and for ``mk`` elsewhere; ``gr`` for one convolution of all members, ``gr/gr/mk`` with the
    weight's gradient member by member. An empty variant is ``im``.
    """
    ways: dict[str, Ways] = {}
    default, rows, block = _DEFAULT, False, 0
    for part in filter(None, variant.split(",")):
        name, given, value = part.partition("=")
        if part == "rows":
            rows = True
        elif name == "block" and value.isdigit():
            block = int(value)
        elif given:
            ways[name] = _ways(value, variant)
        else:
            default = _ways(part, variant)
    return Formulation(ways, default, rows, block)
