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


EXCESS_LOSS = (
    Quantity(
        "excess-loss",
        "share of the explained loss that is left",
        "1 is the loss of the best constant and 0 that of the best linear model, on the training "
        "data; a start from random weights may lie above 1. The layer start counts from each run's "
        "own first loss instead.",
        logarithmic=True,
    ),
)
LINEAR_WEIGHTS = (
    Quantity(
        "linear-weights",
        "weight of each feature",
        "A weight is per unit of its feature as the model takes it, so that it depends on how the "
        "inputs are normalized.",
    ),
)
UPDATE_SHARE = (
    Quantity(
        "update-share",
        "share of a step that each feature has",
        "The square of a weight's change over the sum of all: a feature with large numbers takes "
        "nearly all of a step, whatever it matters.",
    ),
)
WEIGHT_NORM = (
    Quantity(
        "weight-norm",
        "norm of the weights",
        "Where a norm follows a layer, the size of its weights does not change what it computes, "
        "but a larger one makes each step turn it less.",
    ),
)
