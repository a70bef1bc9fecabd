"""The layers of a cell's model, with the norm put where the protocol asks for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from normbench.catalog import MODELS, NORMS, WEIGHTS, nearest
from normbench.catalog.guard import guarded
from normbench.errors import UsageError
from normbench.models.layers import Attention, Layer, Linear, Recurrent, Site, flat, site_names
from normbench.protocol.schema import Cell


@dataclass(frozen=True)
class NormSpec:
    """The norm under study: its name, its parameters and the batch it takes statistics from."""

    name: str
    params: Mapping[str, Any]
    batch_size: int


@dataclass(frozen=True)
class Network:
    """Everything a builder needs: the layers, the input's shape, the norm and where it stands."""

    layers: tuple[Layer, ...]
    shape: tuple[int, ...]
    batch_size: int
    norm: NormSpec
    sites: frozenset[str]
    position: str

    def norm_at(self, site: Site) -> bool:
        """Whether the norm stands at this place."""
        return site.position == self.position and site.name in self.sites


def select_sites(wanted: str | Sequence[str], layers: Sequence[Layer]) -> frozenset[str]:
    """The sites of a model that ``all``, ``first-two``, ``fc`` or a list of names means."""
    names = site_names(layers)
    if wanted == "all":
        return frozenset(names)
    if wanted == "first-two":
        return frozenset(names[:2])
    if wanted == "fc":
        linear = [x.name for x in flat(layers) if isinstance(x, Linear) and x.name in names]
        if not linear:
            raise UsageError(
                "sites = fc is for models with hidden linear layers; "
                f"this one has the sites {', '.join(names)}"
            )
        return frozenset(linear)
    for name in wanted:
        if name not in names:
            close = nearest(name, names)
            hint = f"; did you mean {close!r}?" if close else ""
            raise UsageError(f"the model has no site {name!r}{hint} (sites: {', '.join(names)})")
    return frozenset(wanted)


#: Axes without effect where norms stand within the blocks of a model, and why.
_WITHIN = {
    "position": ("pre", "its norms have places of their own"),
    "init": ("torch", "He's initial weights are for layers with ReLU"),
}


def _check_within(cell: Cell) -> None:
    """Refuse axes that would be without effect in a recurrent net or a transformer."""
    for axis, (default, why) in _WITHIN.items():
        received = getattr(cell, axis)
        if received != default:
            raise UsageError(
                f"{axis} = {received!r} has no meaning for the model {cell.model.name}: {why}; "
                f"leave {axis} out"
            )


def _check_weights(cell: Cell) -> None:
    """Refuse norms of weights where they have no form."""
    if WEIGHTS in NORMS[cell.norm.name].traits:
        raise UsageError(
            f"the norm {cell.norm.label} changes the weights of layers, and has no form for the "
            f"model {cell.model.name}; use a norm of activations, such as layer"
        )


def network(cell: Cell, shape: tuple[int, ...], classes: int) -> Network:
    """The network of a cell for inputs of ``shape`` in ``classes`` classes.

    ``shape`` is (C, H, W), (features, steps) for sequences, or (tokens,) for text.
    """
    if cell.batch_size % cell.statistics_batch:
        raise UsageError(
            "norm_batch_size must divide batch_size, so that all ghost batches are whole; "
            f"received {cell.statistics_batch} and {cell.batch_size}"
        )
    entry = MODELS[cell.model.name]
    with guarded(MODELS, cell.model.name):
        layers = cast(list[Layer], entry.load()(shape, classes, **cell.model.params))
    if cell.norm.name != "none" and not site_names(layers):
        raise UsageError(
            f"the model {cell.model.name} has no site at which a norm could stand; received the "
            f"norm {cell.norm.label}; use the norm none"
        )
    if any(isinstance(layer, Recurrent | Attention) for layer in flat(layers)):
        _check_within(cell)
    if any(isinstance(layer, Attention) for layer in flat(layers)):
        _check_weights(cell)
    return Network(
        layers=tuple(layers),
        shape=shape,
        batch_size=cell.batch_size,
        norm=NormSpec(cell.norm.name, cell.norm.params, cell.statistics_batch),
        sites=select_sites(cell.sites, layers),
        position=cell.position,
    )
