"""Building a norm of the catalogue for a site."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from torch import nn

from normbench.catalog import BATCH_STATISTICS, NORMS, SITES_TOO, WEIGHTS


def build_norm(
    name: str, params: Mapping[str, Any], shape: tuple[int, ...], batch_size: int
) -> nn.Module:
    """The layer of norm ``name`` for samples of ``shape`` in batches of ``batch_size``.

    ``shape`` is (features,) or (C, H, W). Only norms that take statistics over the batch are
    told its size. Raises :class:`~normbench.errors.UndefinedError` where the norm has no
    meaning at this shape and :class:`~normbench.errors.UsageError` for parameters that do not
    fit it.
    """
    entry = NORMS[name]
    extra = {"batch_size": batch_size} if BATCH_STATISTICS in entry.traits else {}
    return cast(nn.Module, entry.load()(shape, **params, **extra))


def changes_weights(name: str) -> bool:
    """Whether the norm wraps the layers with weights."""
    return WEIGHTS in NORMS[name].traits


def stands_at_sites(name: str) -> bool:
    """Whether the norm is a layer at its sites: one that changes weights need not be."""
    traits = NORMS[name].traits
    return WEIGHTS not in traits or SITES_TOO in traits


def wrap_layer(name: str, params: Mapping[str, Any], layer: nn.Module) -> nn.Module:
    """A layer with weights as a norm of the kind :func:`changes_weights` makes it.

    Raises :class:`~normbench.errors.UndefinedError` where the norm has no meaning for the layer.
    """
    return cast(nn.Module, NORMS[name].load()(layer, **params))
