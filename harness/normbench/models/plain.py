"""The plain module of a network: one seed, ordinary torch layers."""

from __future__ import annotations

import math
from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.nn.utils import skip_init

from normbench.errors import UndefinedError, UsageError
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
    Site,
)
from normbench.models.recurrent_layer import RecurrentLayer, build_recurrent
from normbench.norms.batch import BatchNorm
from normbench.norms.factory import build_norm, changes_weights, wrap_layer
from normbench.norms.weight import WeightNormed
from normbench.plan.seeds import stream_key


class StreamDropout(nn.Module):
    """Dropout that draws its masks from a generator of its own, named by seed and layer."""

    def __init__(self, name: str, p: float) -> None:
        super().__init__()
        self.name, self.p = name, p
        self.generator: torch.Generator | None = None

    def seed(self, seed: int, device: torch.device) -> None:
        """Start the stream of masks of this run."""
        self.generator = torch.Generator(device).manual_seed(stream_key(seed, "dropout", self.name))

    def forward(self, x: Tensor) -> Tensor:
        """Zero each value with probability p in training, and scale the rest by 1/(1 − p)."""
        if not self.training or self.p == 0:
            return x
        place = x.device if self.generator is None else self.generator.device
        draws = torch.rand(x.shape, generator=self.generator, device=place)
        keep = draws.to(x.device) >= self.p
        return x * keep / (1 - self.p)


class Net(nn.Module):
    """A network as a sequence of named layers."""

    def __init__(self, parts: dict[str, nn.Module]) -> None:
        super().__init__()
        self.parts = nn.ModuleDict(parts)

    def forward(self, x: Tensor) -> Tensor:
        """Inputs (N, C, H, W), or (N, features, steps), to logits of shape (N, classes)."""
        for part in self.parts.values():
            x = part(x)
        return x


def _uninitialised(kind: type[nn.Module], *sizes: int, device: str) -> nn.Module:
    return cast(nn.Module, skip_init(kind, *sizes, device=device))  # type: ignore[no-untyped-call]


def _part(layer: Layer, shape: tuple[int, ...], net: Network, device: str) -> nn.Module:
    """The module of one layer for samples of ``shape``; weights are left uninitialised."""
    match layer:
        case Conv():
            if len(shape) != 3:
                raise UsageError(
                    f"the layer {layer.name} is a convolution and takes images; inputs of shape "
                    f"{shape} are for a recurrent model such as lstm"
                )
            return _uninitialised(
                nn.Conv2d, shape[0], layer.channels, layer.kernel, layer.stride, layer.padding,
                device=device,
            )  # fmt: skip
        case Linear():
            return _uninitialised(nn.Linear, shape[0], layer.features, device=device)
        case Site():
            with torch.device(device):
                norm = build_norm(net.norm.name, net.norm.params, shape, net.norm.batch_size)
            if isinstance(norm, BatchNorm) and net.norm.batch_size < net.batch_size:
                norm.ghost = net.norm.batch_size
            return norm
        case ReLU():
            return nn.ReLU()
        case MaxPool():
            return nn.MaxPool2d(layer.kernel, layer.stride)
        case Flatten():
            return nn.Flatten()
        case Dropout():
            return StreamDropout(layer.name, layer.p)
        case Recurrent():
            with torch.device(device):
                return build_recurrent(layer, shape, net)


def _name(index: int, layer: Layer) -> str:
    match layer:
        case Site():
            return f"{layer.name}_norm"
        case Conv() | Linear() | Dropout() | Recurrent():
            return layer.name
        case _:
            return f"{type(layer).__name__.lower()}{index}"


def _probe(part: nn.Module, probe: Tensor, layer: Layer, name: str) -> Tensor:
    """The shape after a layer in training, found on the meta device with the true batch size."""
    try:
        return cast(Tensor, part.train()(probe))
    except (RuntimeError, ValueError) as error:
        shape = tuple(probe.shape)
        if isinstance(layer, Site):
            raise UndefinedError(f"no meaning for a batch of shape {shape}: {error}") from None
        raise UsageError(
            f"the layer {name} cannot take a batch of shape {shape}: {error}"
        ) from None


def build(net: Network, device: str = "cpu") -> Net:
    """Build the module on ``device``; ``"meta"`` finds all shapes without computing anything.

    Each layer is passed a batch on the meta device in training mode, so that a model's list
    needs no shape arithmetic and a norm without meaning at its shape is found before any
    training. Convolutions, linear and recurrent layers are left uninitialised: see
    :func:`initialise`.

    Raises :class:`UndefinedError` where the norm has no meaning at the shape of one of its
    sites and :class:`UsageError` where parameters or shapes do not fit.
    """
    parts: dict[str, nn.Module] = {}
    wraps = changes_weights(net.norm.name)
    probe = torch.empty((net.batch_size, *net.shape), device="meta")
    for i, layer in enumerate(net.layers):
        if isinstance(layer, Site) and (not net.norm_at(layer) or wraps):
            continue
        name, shape = _name(i, layer), tuple(probe.shape[1:])
        try:
            shadow = _part(layer, shape, net, "meta")
            probe = _probe(shadow, probe, layer, name)
        except (UndefinedError, UsageError) as error:
            place = f"at site {layer.name}: " if isinstance(layer, Site) else ""
            raise type(error)(f"{place}{error}") from None
        if type(shadow) is nn.Identity:
            continue
        if name in parts:
            raise ValueError(f"two layers of the model are named {name!r}; names must differ")
        part = shadow if device == "meta" else _part(layer, shape, net, device)
        if wraps and name in net.sites:
            part = wrap_layer(net.norm.name, net.norm.params, part)
        parts[name] = part
    return Net(parts).train()


@torch.no_grad()
def initialise(model: Net, seed: int, init: Literal["torch", "he"]) -> None:
    """Set the initial weights: each layer from its own stream, (seed, ``init``, layer name).

    ``torch`` is torch's default (uniform within ±1/√fan_in for weights and biases), ``he`` is
    normal with deviation √(2/fan_in) and zero biases (He et al. 2015, arXiv:1502.01852). Norm
    layers keep scale 1 and shift 0 and draw nothing, so that layers which two configurations
    share start equal. Numbers are drawn on the CPU in float32, whatever the device.
    """
    for name, module in model.parts.items():
        if isinstance(module, StreamDropout):
            module.seed(seed, torch.device("cpu"))
        if isinstance(module, RecurrentLayer):
            module.initialise(seed, name)
        if not isinstance(module, nn.Conv2d | nn.Linear | WeightNormed):
            continue
        stored = module.v if isinstance(module, WeightNormed) else module.weight
        generator = torch.Generator().manual_seed(stream_key(seed, "init", name))
        weight = torch.empty(stored.shape)
        fan_in = weight[0].numel()
        if init == "he":
            weight.normal_(0.0, math.sqrt(2.0 / fan_in), generator=generator)
            bias = torch.zeros(weight.shape[0])
        else:
            bound = 1.0 / math.sqrt(fan_in)
            weight.uniform_(-bound, bound, generator=generator)
            bias = torch.empty(weight.shape[0]).uniform_(-bound, bound, generator=generator)
        stored.copy_(weight)
        if isinstance(module, WeightNormed):
            module.reset_scale()
        if module.bias is not None:
            module.bias.copy_(bias)
