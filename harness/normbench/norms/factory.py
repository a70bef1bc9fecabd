"""Building a norm of the catalogue for a site."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

from torch import nn

from normbench.catalog import BATCH_STATISTICS, NORMS, SITES_TOO, WEIGHTS
from normbench.catalog.guard import guarded, guarding
from normbench.catalog.target import packages_of_target
from normbench.errors import UsageError


def build_norm(
    name: str, params: Mapping[str, Any], shape: tuple[int, ...], batch_size: int
) -> nn.Module:
    """The layer of norm ``name`` for samples of ``shape`` in batches of ``batch_size``.

    ``shape`` is (features,) or (C, H, W). Only norms that take statistics over the batch are
    told its size. Raises :class:`~normbench.errors.UndefinedError` where the norm has no
    meaning at this shape and :class:`~normbench.errors.UsageError` for parameters that do not
    fit it; of a norm of another package any error but the first is a
    :class:`~normbench.errors.ComponentError`.
    """
    entry = NORMS[name]
    extra = {"batch_size": batch_size} if BATCH_STATISTICS in entry.traits else {}
    return _built(name, shape, params, extra)


def is_foreign(name: str, params: Mapping[str, Any]) -> bool:
    """Whether the norm's code is not normbench's: another package's, or the user's own."""
    return not NORMS.built_in(name) or "target" in params


def guarded_norm(name: str, params: Mapping[str, Any]) -> AbstractContextManager[None]:
    """Within, what a foreign norm raises is told as its error."""
    if "target" in params:
        return guarding(packages_of_target(params["target"]), UsageError)
    return guarded(NORMS, name)


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
    return _built(name, layer, params)


def _built(
    name: str, first: Any, params: Mapping[str, Any], extra: Mapping[str, Any] | None = None
) -> nn.Module:
    with guarded(NORMS, name):
        module = NORMS[name].load()(first, **params, **(extra or {}))
        if not isinstance(module, nn.Module):
            raise TypeError(
                f"the builder of the norm {name} must give a torch module; it gave "
                f"{type(module).__name__}"
            )
        return module
