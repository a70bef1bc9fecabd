"""The graph of a network as the packed form computes it: a list of nodes, in order.

A node is the whole configuration of an operation. :func:`lowered` makes them of a network's layers,
a node for each thing that is computed, and :mod:`.passes` then rewrites the list. Shapes are a
sample's, (H, W, C) or (features,).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

from normbench.catalog import NORMS
from normbench.errors import UsageError
from normbench.models.describe import Network
from normbench.models.layers import (
    Conv,
    Dropout,
    Flatten,
    Layer,
    Linear,
    MaxPool,
    Recurrent,
    ReLU,
    Residual,
    Site,
)
from normbench.models.packed.forms import Form, Node, NormNode, Shape, WeightForm
from normbench.models.packed.formulation import IM2COL, Way
from normbench.models.shapes import shape_after


class UnsupportedError(Exception):
    """The packed form does not cover this network, and the plain loop is needed; says why."""


@dataclass(frozen=True)
class WeightNode(Node):
    """A layer with a weight, made of what is stored as ``weight`` says.

    ``passes_back``: something before it needs a gradient.
    """

    weight: WeightForm = "plain"
    passes_back: bool = True


@dataclass(frozen=True)
class LinearNode(WeightNode):
    """A product with the weight; inputs are vectors."""


@dataclass(frozen=True)
class ConvNode(WeightNode):
    """A convolution, computed in the formulation ``way``."""

    kernel: int = 1
    stride: int = 1
    padding: int = 0
    way: Way = IM2COL


@dataclass(frozen=True)
class BiasNode(Node):
    """Adds the bias of the layer ``name``, one value per channel."""


@dataclass(frozen=True)
class ReLUNode(Node):
    """max(x, 0). ``in_place``: nobody else needs the input."""

    in_place: bool = False


@dataclass(frozen=True)
class PoolNode(Node):
    """Maxima of windows. ``reuse``: the input's memory may take its gradient."""

    kernel: int = 1
    stride: int = 1
    reuse: bool = False
    together: bool = False


@dataclass(frozen=True)
class FlattenNode(Node):
    """Images as vectors, in the order (C, H, W) of the plain module."""


@dataclass(frozen=True)
class DropoutNode(Node):
    """Zeroes with the probability ``p``, by masks from the stream of ``name``."""

    p: float = 0.0


@dataclass(frozen=True)
class ArrangeNode(Node):
    """Brings images of all members ``together``, or apart again: see :mod:`.together`."""

    together: bool = True


def norm_params(net: Network) -> dict[str, Any]:
    """The parameters of the network's norm, with the catalogue's defaults where it names none."""
    defaults = {name: param.default for name, param in NORMS[net.norm.name].params.items()}
    return defaults | dict(net.norm.params)


def form_of(net: Network) -> Form:
    """What the network's norm is to the packed engine; raises :class:`UnsupportedError`."""
    entry = NORMS[net.norm.name]
    if not entry.packed:
        raise UnsupportedError(f"the norm {net.norm.name} has a plain form only")
    if unknown := set(net.norm.params) - set(entry.params):
        raise UnsupportedError(
            f"the packed form of {net.norm.name} norm has no parameter {', '.join(sorted(unknown))}"
        )
    form: Form = entry.load_packed()
    return form


def lowered(net: Network) -> list[Node]:
    """The nodes of a network in order, before any pass; what computes nothing is left out.

    Raises :class:`UnsupportedError` where the packed form does not cover a layer or the norm.
    """
    form = form_of(net)
    if any(isinstance(layer, Recurrent) for layer in net.layers):
        raise UnsupportedError("recurrent layers have a packed form of their own")
    if len(net.shape) not in (1, 3):
        raise UnsupportedError(f"inputs of shape {net.shape} are neither vectors nor images")
    stands = form.stands(norm_params(net))
    layers = [
        layer
        for layer in net.layers
        if not (isinstance(layer, Site) and not (stands and net.norm_at(layer)))
        and not (isinstance(layer, Dropout) and layer.p == 0)
    ]
    shape = net.shape
    if isinstance(net.layers[0], Flatten):  # the data come flattened
        shape = (prod(shape),)
    found: list[Node] = []
    for layer in layers:
        before, shape = shape, _after(layer, shape, net.batch_size)
        if isinstance(layer, Flatten) and len(before) == 1:
            continue
        around = _channels_last(before), _channels_last(shape)
        weight = form.weight if getattr(layer, "name", "") in net.sites else "plain"
        match layer:
            case Conv(name, _, kernel, stride, padding):
                conv = ConvNode(
                    name, *around, weight, kernel=kernel, stride=stride, padding=padding
                )
                found += [conv, BiasNode(name, around[1], around[1])]
            case Linear(name):
                found.append(LinearNode(name, *around, weight))
                found.append(BiasNode(name, around[1], around[1]))
            case Site(name):
                params = norm_params(net)
                norm = NormNode(f"{name}_norm", *around, form, params, net.norm.batch_size)
                found.append(norm)
            case ReLU():
                found.append(ReLUNode("", *around))
            case MaxPool(kernel, stride):
                found.append(PoolNode("", *around, kernel, stride))
            case Flatten():
                found.append(FlattenNode("", *around))
            case Dropout(name, p):
                found.append(DropoutNode(name, *around, p))
    return found


def _channels_last(shape: Shape) -> Shape:
    """(C, H, W) as (H, W, C); a vector's shape as it is."""
    return (*shape[1:], shape[0]) if len(shape) == 3 else shape


def _after(layer: Layer, shape: Shape, batch: int) -> Shape:
    """The shape behind a layer in the plain module's order, (C, H, W)."""
    if isinstance(layer, Residual):
        raise UnsupportedError(f"the residual block {layer.name} has a plain form only")
    if not isinstance(layer, Conv | Linear | Site | ReLU | MaxPool | Flatten | Dropout):
        raise UnsupportedError(f"the layer {layer} has a plain form only")
    try:
        return shape_after(layer, shape, getattr(layer, "name", ""), batch)
    except UsageError as error:
        raise UnsupportedError(str(error)) from None
