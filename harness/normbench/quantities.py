"""What the built-in probes measure: the name of each quantity, its title, unit and reading.

The catalogue's probe entries refer to these, so that a claim about a quantity can be checked when
a protocol is read, and a report can say what its figures show, without importing any probe.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Quantity:
    """One quantity that a probe gives.

    ``name`` is what tables and claims call it, ``title`` how it is said in a sentence (lower
    case), ``reading`` how a figure of it is read, in whole sentences. ``unit`` is empty for pure
    numbers. ``logarithmic`` ones are drawn on a logarithmic axis where all values are positive.
    """

    name: str
    title: str
    reading: str
    unit: str = ""
    logarithmic: bool = False


WEIGHT_NORM = (
    Quantity(
        "weight-norm",
        "norm of the weights",
        "Where a norm follows a layer, the size of its weights does not change what it computes, "
        "but a larger one makes each step turn it less.",
    ),
)
