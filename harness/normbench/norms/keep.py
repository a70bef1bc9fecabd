"""What stands for the norms that a network of the user's own has already."""

from __future__ import annotations

from typing import NoReturn

from normbench.errors import UsageError


def build(shape: tuple[int, ...]) -> NoReturn:
    """Raise :class:`UsageError`: the models of this package have no norms of their own."""
    del shape
    raise UsageError(
        "the norm keep leaves the norms of a network of your own as they are, and this model has "
        'none; likely fix: a norm by its name, or model = { name = "torch", target = … }'
    )
