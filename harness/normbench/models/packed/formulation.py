"""How a packed net computes: the formulations of its convolutions, and the size of blocks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from normbench.errors import UsageError

Way = Literal["im2col", "grouped"]
IM2COL: Way = "im2col"
GROUPED: Way = "grouped"


@dataclass(frozen=True)
class Formulation:
    """Ways by the convolution's name, and ``default`` for the others.

    ``block`` members are computed together; 0 are as many as suit the shapes.
    """

    ways: Mapping[str, Way] = field(default_factory=dict)
    default: Way = IM2COL
    block: int = 0

    def way_of(self, name: str) -> Way:
        """The formulation of a convolution."""
        return self.ways.get(name, self.default)


def _way(text: str, variant: str) -> Way:
    for way in (IM2COL, GROUPED):
        if text == way:
            return way
    raise UsageError(
        f"a convolution's formulation is {IM2COL} or {GROUPED}; received {text!r} in the variant "
        f"{variant!r}. An execution plan of an earlier version may name others: measure a new one"
    )


def parse(variant: str) -> Formulation:
    """Read a variant: parts with commas between them, such as ``conv1=grouped,im2col,block=4``.

    A way alone stands for all convolutions that are not named, and is ``im2col`` if it is missing.
    """
    ways: dict[str, Way] = {}
    default, block = IM2COL, 0
    for part in filter(None, variant.split(",")):
        name, given, value = part.partition("=")
        if name == "block" and value.isdigit():
            block = int(value)
        elif given:
            ways[name] = _way(value, variant)
        else:
            default = _way(part, variant)
    return Formulation(ways, default, block)
