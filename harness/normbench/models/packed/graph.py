"""A network's layers as the packed form computes them: shapes, order, and what is left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Literal

from normbench.catalog import NORMS
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

#: Norms that have a packed form, with the parameters it covers.
PACKED_NORMS: Mapping[str, frozenset[str]] = {
    "none": frozenset(),
    "batch": frozenset({"eps", "momentum", "affine", "time", "gamma"}),
    "layer": frozenset({"eps", "affine"}),
    "group": frozenset({"groups", "eps", "affine"}),
    "instance": frozenset({"eps", "affine"}),
    "weight": frozenset(),
    "batch-renorm": frozenset(
        {"eps", "momentum", "affine", "r_max", "d_max", "plain", "r_by", "d_by"}
    ),
    "batch-frozen": frozenset({"eps", "momentum", "affine", "after"}),
    "weight-standardized": frozenset({"groups", "eps", "affine"}),
    "layer-channels": frozenset({"eps", "affine"}),
    "rms": frozenset({"eps", "affine"}),
    "dyt": frozenset({"alpha", "affine"}),
}
#: How the norms that change weights make a weight of its v.
_WEIGHTS: Mapping[str, Literal["plain", "normed", "standardized"]] = {
    "weight": "normed",
    "weight-standardized": "standardized",
}
#: Norms with a scale (and a shift) per element, and not per channel.
_PER_ELEMENT = ("layer", "rms")
#: The names of their scales and shifts, where they are not a weight and a bias.
_SCALES: Mapping[str, tuple[str, ...]] = {"rms": ("weight",)}
#: The names of parameters with a single value.
_SCALARS: Mapping[str, tuple[str, ...]] = {"dyt": ("alpha",)}


class UnsupportedError(Exception):
    """The packed form does not cover this network, and the plain loop is needed; says why."""


@dataclass(frozen=True)
class Node:
    """One operation: its layer, its name in the plain module, and a sample's shape around it.

    Shapes are (H, W, C) or (features,). ``weight`` says how the layer's weight is made of its v.
    Where a vector holds a flattened image in the order (H, W, C), ``image`` is that shape. A
    flattening with ``reorder`` puts the values into the order (C, H, W) of the plain module. A
    norm ``per_element`` has a scale and a shift per element, and not per channel. ``scales`` names
    those of a norm, and ``scalars`` its parameters with a single value.
    """

    layer: Layer
    name: str
    before: tuple[int, ...]
    after: tuple[int, ...]
    weight: Literal["plain", "normed", "standardized"] = "plain"
    image: tuple[int, ...] | None = None
    reorder: bool = False
    per_element: bool = False
    scales: tuple[str, ...] = ()
    scalars: tuple[str, ...] = ()


def norm_params(net: Network) -> dict[str, Any]:
    """The parameters of the network's norm, with the catalogue's defaults where it names none."""
    defaults = {name: param.default for name, param in NORMS[net.norm.name].params.items()}
    return defaults | dict(net.norm.params)


def _relevant(net: Network) -> list[Layer]:
    """The layers that compute something, each pool before the activation that it follows.

    max(x, 0) commutes with the maximum over a window: values and gradients are the same bits, and
    the activation has fewer values to look at. Flattening the input is left out: the data come
    flattened.
    """
    stands = net.norm.name not in ("none", "weight")
    if net.norm.name == "weight-standardized":
        stands = norm_params(net)["groups"] > 0
    layers: list[Layer] = [
        layer
        for layer in net.layers
        if not (isinstance(layer, Site) and not (stands and net.norm_at(layer)))
        and not (isinstance(layer, Dropout) and layer.p == 0)
    ]
    while layers and isinstance(layers[0], Flatten):
        layers.pop(0)
    for i in range(1, len(layers)):
        if isinstance(layers[i], MaxPool):
            at = i
            while at and isinstance(layers[at - 1], ReLU):
                layers[at - 1], layers[at] = layers[at], layers[at - 1]
                at -= 1
    return layers


def input_shape(net: Network) -> tuple[int, ...]:
    """A sample's shape as the packed form takes it: (H, W, C), or (features,)."""
    if len(net.shape) == 3 and not isinstance(net.layers[0], Flatten):
        channels, height, width = net.shape
        return (height, width, channels)
    return (prod(net.shape),)


def _keeps_order(following: Sequence[Layer]) -> bool:
    """Whether a flattened image may stay in the order (H, W, C): a linear layer reads it next."""
    for layer in following:
        if not isinstance(layer, ReLU | Dropout):
            return isinstance(layer, Linear)
    return False


def nodes(net: Network) -> list[Node]:
    """The operations of a network in order.

    Raises :class:`UnsupportedError` where the packed form does not cover a layer or the norm.
    """
    covered = PACKED_NORMS.get(net.norm.name)
    if covered is None:
        raise UnsupportedError(f"the norm {net.norm.name} has a plain form only")
    unknown = set(net.norm.params) - covered
    if unknown:
        raise UnsupportedError(
            f"the packed form of {net.norm.name} norm has no parameter {', '.join(sorted(unknown))}"
        )
    if any(isinstance(layer, Recurrent) for layer in net.layers):
        raise UnsupportedError("recurrent layers have a packed form of their own")
    if len(net.shape) not in (1, 3):
        raise UnsupportedError(f"inputs of shape {net.shape} are neither vectors nor images")
    found: list[Node] = []
    shape, image = input_shape(net), None
    layers = _relevant(net)
    for i, layer in enumerate(layers):
        name = f"{layer.name}_norm" if isinstance(layer, Site) else getattr(layer, "name", "")
        weight = _WEIGHTS.get(net.norm.name, "plain") if name in net.sites else "plain"
        reorder = isinstance(layer, Flatten) and not _keeps_order(layers[i + 1 :])
        after = _shape_after(layer, shape)
        if isinstance(layer, Flatten) and len(shape) == 3 and not reorder:
            image = shape
        found.append(Node(layer, name, shape, after, weight, image, reorder, **_own(layer, net)))
        shape = after
        if isinstance(layer, Linear):
            image = None
    return found


def _own(layer: Layer, net: Network) -> dict[str, Any]:
    """What a node says of a norm's parameters; nothing for other layers."""
    if not isinstance(layer, Site):
        return {}
    name, affine = net.norm.name, bool(norm_params(net).get("affine", False))
    return {
        "per_element": name in _PER_ELEMENT,
        "scales": _SCALES.get(name, ("weight", "bias")) if affine else (),
        "scalars": _SCALARS.get(name, ()),
    }


def _shape_after(layer: Layer, shape: tuple[int, ...]) -> tuple[int, ...]:
    """A sample's shape after a layer."""
    match layer:
        case Conv(channels=channels, kernel=kernel, stride=stride, padding=padding):
            height, width = (
                (size + 2 * padding - kernel) // stride + 1 for size in _image(layer, shape)[:2]
            )
            return (height, width, channels)
        case MaxPool(kernel=kernel, stride=stride):
            height, width, channels = _image(layer, shape)
            return ((height - kernel) // stride + 1, (width - kernel) // stride + 1, channels)
        case Linear(features=features):
            if len(shape) != 1:
                raise UnsupportedError(f"the linear layer {layer.name} stands on an image")
            return (features,)
        case Flatten():
            return (prod(shape),)
        case Site() | ReLU() | Dropout():
            return shape
        case Residual(name=name):
            raise UnsupportedError(f"the residual block {name} has a plain form only")
    raise UnsupportedError(f"the layer {layer} has a plain form only")


def _image(layer: Layer, shape: tuple[int, ...]) -> tuple[int, ...]:
    if len(shape) != 3:
        raise UnsupportedError(f"the layer {layer} stands on a vector")
    return shape
