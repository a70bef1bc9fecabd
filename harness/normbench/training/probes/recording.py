"""Watching what goes through a network's activation functions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from normbench.training.probes.base import weight_layers

_RECTIFIERS = (nn.ReLU, nn.ReLU6)
_ACTIVATIONS = (
    *_RECTIFIERS,
    nn.LeakyReLU, nn.ELU, nn.SELU, nn.GELU, nn.SiLU, nn.Mish, nn.Softplus, nn.Tanh, nn.Sigmoid,
    nn.Hardswish, nn.Hardtanh,
)  # fmt: skip


@dataclass(frozen=True)
class Place:
    """Where activations are looked at: a name, a module, and whether it is a rectifier.

    ``inner`` says that the module is no activation function but a layer whose own output is
    looked at, as of a recurrent cell that holds its activation functions itself.
    """

    name: str
    module: nn.Module
    rectifier: bool = False
    inner: bool = False


def places(model: nn.Module) -> list[Place]:
    """The activation functions of a model, each named after the last layer with weights before it.

    A second one behind the same layer is named with a number, ``conv1#2``. A model without
    activation modules has the outputs of its layers with weights instead, the last one (the
    classifier) left out.
    """
    layers = weight_layers(model)
    names = {id(layer.module): layer.name for layer in layers}
    found: list[Place] = []
    taken: dict[str, int] = {}
    last = "input"
    for module in model.modules():
        last = names.get(id(module), last)
        if isinstance(module, _ACTIVATIONS):
            taken[last] = taken.get(last, 0) + 1
            label = last if taken[last] == 1 else f"{last}#{taken[last]}"
            found.append(Place(label, module, isinstance(module, _RECTIFIERS)))
    if not found:
        found = [Place(layer.name, layer.module, inner=True) for layer in layers[:-1]]
    return found


def by_channel(x: Tensor) -> Tensor:
    """Activations as (values, channels): of (N, C), (N, C, H, W), or (N, T, C) for sequences."""
    if x.dim() < 2:
        return x.reshape(-1, 1)
    if x.dim() == 3:
        return x.reshape(-1, x.shape[-1])
    return x.transpose(0, 1).reshape(x.shape[1], -1).T


def _first_tensor(output: Any) -> Tensor | None:
    while isinstance(output, tuple | list) and output:
        output = output[0]
    return output if isinstance(output, Tensor) else None


@contextmanager
def watching(
    watched: Sequence[Place], see: Callable[[Place, Tensor, Tensor], None]
) -> Iterator[None]:
    """Call ``see(place, before, after)`` whenever a watched module runs, within this context.

    ``before`` is what goes into the activation function and ``after`` what comes out, both
    (values, channels) and detached; of an inner layer both are its output.
    """

    def hook_of(place: Place) -> list[Any]:
        seen: list[Tensor] = []

        def enters(_: nn.Module, inputs: tuple[Any, ...]) -> None:
            # summed up before the module runs, since it may write over its input
            seen[:] = [by_channel(inputs[0].detach()).clone()]

        def leaves(_: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            del inputs
            tensor = _first_tensor(output)
            if tensor is None:
                return
            after = by_channel(tensor.detach())
            see(place, after if place.inner else seen[0], after)

        handles: list[Any] = [place.module.register_forward_hook(leaves)]
        if not place.inner:
            handles.append(place.module.register_forward_pre_hook(enters))
        return handles

    handles = [handle for place in watched for handle in hook_of(place)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


class ChannelMoments:
    """Mean, deviation and maximum of each channel, added up over calls in float64."""

    def __init__(self) -> None:
        self.count = 0
        self.first: Tensor | None = None
        self.second: Tensor | None = None
        self.largest: Tensor | None = None

    def add(self, values: Tensor) -> None:
        """Take in values of shape (values, channels)."""
        wide = values.double()
        first, second, largest = wide.sum(0), wide.square().sum(0), wide.amax(0)
        if self.first is not None and self.second is not None and self.largest is not None:
            first, second = first + self.first, second + self.second
            largest = torch.maximum(largest, self.largest)
        self.first, self.second, self.largest = first, second, largest
        self.count += len(values)

    def overall(self) -> tuple[float, float]:
        """The mean and the standard deviation of all values of all channels together."""
        if self.first is None or self.second is None:
            raise ValueError("no values were added")
        mean = float(self.first.sum()) / (self.count * len(self.first))
        second = float(self.second.sum()) / (self.count * len(self.second))
        return mean, max(second - mean * mean, 0.0) ** 0.5

    def never_positive(self) -> float:
        """The share of channels none of whose values is above zero."""
        if self.largest is None:
            raise ValueError("no values were added")
        return float((self.largest <= 0).double().mean())
