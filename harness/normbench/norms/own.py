"""A norm of the user's own: a class or a function that a protocol names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from normbench.catalog.target import made
from normbench.errors import UsageError


def build(shape: tuple[int, ...], *, target: str, args: Mapping[str, Any]) -> nn.Module:
    """What the target gives for samples of ``shape``, (channels,) or (channels, height, width).

    It is called with ``args``, in which ``"$channels"`` and ``"$shape"`` are filled in; where none
    of them asks for either, the channels are its only positional argument, as torchvision's
    ``norm_layer`` takes them. What it raises is a :class:`~normbench.errors.ComponentError`.
    """
    values = {"channels": shape[0], "shape": shape}
    module: nn.Module = made(target, args, values, first="channels")
    if not isinstance(module, nn.Module):
        raise UsageError(
            f"the target of a norm gives a torch module; {target} gave {type(module).__name__}"
        )
    return module
