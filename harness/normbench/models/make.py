"""The module of a cell's network, whether its layers are listed here or it is the user's own."""

from __future__ import annotations

import torch
from torch import nn

from normbench.catalog import MODELS, OWN_NETWORKS
from normbench.models.describe import network
from normbench.models.own.network import OwnNet
from normbench.models.plain import Net, build, initialise
from normbench.protocol.schema import Cell


def is_own(cell: Cell) -> bool:
    """Whether a cell's network is the user's own."""
    return OWN_NETWORKS in MODELS[cell.model.name].traits


def made(
    cell: Cell,
    shape: tuple[int, ...],
    classes: int,
    seed: int,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> nn.Module:
    """The network of a cell for inputs of ``shape`` with the initial weights of a seed, training.

    ``dtype`` is the type of its numbers: float64 in comparisons of engines.

    Raises :class:`~normbench.errors.UndefinedError` where its norm has no meaning at one of the
    sites, :class:`~normbench.errors.UsageError` where values do not fit each other, and
    :class:`~normbench.errors.ComponentError` where code of the user's own raises.
    """
    if is_own(cell):
        return OwnNet(cell, shape, classes, seed).to(device, dtype).train()
    model = build(network(cell, shape, classes), device).to(dtype)
    initialise(model, seed, cell.init)
    return model


def restart(model: nn.Module, cell: Cell, seed: int) -> None:
    """Set the initial weights of another seed, in place."""
    if isinstance(model, OwnNet):
        model.restart(seed)
    elif isinstance(model, Net):
        initialise(model, seed, cell.init)


def check(cell: Cell, shape: tuple[int, ...], classes: int) -> tuple[str, ...]:
    """What people should know of a network, a line each.

    Raises what :func:`made` raises, and what the norm raises for a batch.
    """
    if not is_own(cell):
        build(network(cell, shape, classes), "meta")
        return ()
    net = OwnNet(cell, shape, classes, 0)
    net.tried()
    return net.warnings
