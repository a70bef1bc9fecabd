"""One linear layer: a linear regression, or a softmax regression."""

from __future__ import annotations

from normbench.models.layers import Flatten, Layer, Linear


def layers(shape: tuple[int, ...], classes: int) -> list[Layer]:
    """Every value of an input, weighted and summed up, with a bias; there is no site for a norm.

    ``shape`` is that of an input, flattened first; ``classes`` is 1 in a regression.
    """
    del shape
    return [Flatten(), Linear("linear", classes)]
