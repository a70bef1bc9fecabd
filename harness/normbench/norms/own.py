"""A norm of the user's own: a class or a function that a protocol names."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import torch
from torch import nn

from normbench.catalog.args import Args
from normbench.catalog.guard import guarding
from normbench.catalog.target import load, made, packages_of_target
from normbench.errors import ComponentError, UsageError
from normbench.norms import trial


def build(shape: tuple[int, ...], *, target: str, args: Mapping[str, Any]) -> nn.Module:
    """What the target gives for samples of ``shape``, (channels,) or (channels, height, width).

    It is called with ``args``, in which ``"$channels"`` and ``"$shape"`` are filled in; where none
    of them asks for either, the channels are its only positional argument, as torchvision's
    ``norm_layer`` takes them. Before, it is tried on a few samples, once a process: what cannot be
    compared with other norms is a :class:`~normbench.errors.ComponentError`, and so is what it
    raises.
    """
    found = _faults(target, Args(args), shape, load(target))
    if found:
        told = "; ".join(found)
        raise ComponentError(f"the norm {target} cannot be compared with others: {told}")
    return untried(target, args, shape)


def depends_on_batch(target: str, args: Mapping[str, Any], shape: tuple[int, ...]) -> bool:
    """Whether a sample's output depends on the rest of its batch: found by trying it."""
    return not _independent(target, Args(args), shape, load(target))


def untried(target: str, args: Mapping[str, Any], shape: tuple[int, ...]) -> nn.Module:
    """What :func:`build` gives, without trying it before."""
    module: nn.Module = made(target, args, {"channels": shape[0], "shape": shape}, "channels")
    if not isinstance(module, nn.Module):
        raise UsageError(
            f"the target of a norm gives a torch module; {target} gave {type(module).__name__}"
        )
    return module


@lru_cache(maxsize=1024)
def _faults(target: str, args: Args, shape: tuple[int, ...], _code: Any) -> tuple[str, ...]:
    with guarding(packages_of_target(target), UsageError), torch.device("cpu"):
        return tuple(trial.faults(lambda: untried(target, args, shape), shape))


@lru_cache(maxsize=1024)
def _independent(target: str, args: Args, shape: tuple[int, ...], _code: Any) -> bool:
    with guarding(packages_of_target(target), UsageError), torch.device("cpu"):
        return trial.batch_independent(lambda: untried(target, args, shape), shape)
