"""The plain module of a network: one seed, ordinary torch layers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from normbench.errors import UndefinedError, UsageError
from normbench.models.describe import Network
from normbench.models.dropout import StreamDropout
from normbench.models.layers import (
    Attention,
    Conv,
    Dropout,
    Embed,
    Layer,
    Linear,
    Patches,
    Recurrent,
    Residual,
    Site,
)
from normbench.models.parts import check_norm, part_of
from normbench.models.recurrent_layer import RecurrentLayer
from normbench.models.shapes import shape_after
from normbench.models.tokens import Embedding, PatchEmbedding, SelfAttention
from normbench.norms.factory import changes_weights, stands_at_sites, wrap_layer
from normbench.norms.reparametrized import Reparametrized
from normbench.plan.seeds import stream_key


@dataclass(frozen=True)
class Fork:
    """Where a net splits and adds up again: names of parts, and forks, on both ways.

    An empty way passes its input on.
    """

    body: tuple[str | Fork, ...]
    shortcut: tuple[str | Fork, ...]


class Net(nn.Module):
    """A network of named layers.

    ``parts`` holds all of them by name, whatever block they belong to, in the order in which they
    are computed. ``way`` says how they are joined; by default they stand in a row.
    """

    def __init__(
        self, parts: dict[str, nn.Module], way: tuple[str | Fork, ...] | None = None
    ) -> None:
        super().__init__()
        self.parts = nn.ModuleDict(parts)
        self.way = tuple(parts) if way is None else way

    def forward(self, x: Tensor) -> Tensor:
        """Inputs (N, C, H, W), or (N, features, steps), to logits of shape (N, classes).

        Tokens (N, tokens) have logits of shape (N, tokens, classes).
        """
        return self._along(self.way, x)

    @property
    def site_norms(self) -> list[nn.Module]:
        """The norms at the sites."""
        found = [part for name, part in self.parts.items() if name.endswith("_norm")]
        heads = [part for part in self.parts.values() if isinstance(part, SelfAttention)]
        return found + [norm for part in heads for norm in (part.query_norm, part.key_norm)]

    def _along(self, way: tuple[str | Fork, ...], x: Tensor) -> Tensor:
        for place in way:
            if isinstance(place, Fork):
                x = self._along(place.body, x) + self._along(place.shortcut, x)
            else:
                x = self.parts[place](x)
        return x


def _name(index: int, layer: Layer) -> str:
    match layer:
        case Site():
            return f"{layer.name}_norm"
        case Conv() | Linear() | Dropout() | Recurrent() | Embed() | Patches() | Attention():
            return layer.name
        case _:
            return f"{type(layer).__name__.lower()}{index}"


def sites_of(model: nn.Module) -> list[nn.Module]:
    """The norms that stand at the sites of a built network, those inside recurrent layers apart."""
    found: list[nn.Module] = getattr(model, "site_norms", [])
    return found


class _Builder:
    """The parts of a network so far, each built for the samples that the one before gives."""

    def __init__(self, net: Network, device: str) -> None:
        self.net, self.device = net, device
        self.parts: dict[str, nn.Module] = {}
        self.wraps, self.stands = changes_weights(net.norm.name), stands_at_sites(net.norm.name)
        self._count = 0

    def row(
        self, layers: Sequence[Layer], shape: tuple[int, ...]
    ) -> tuple[tuple[str | Fork, ...], tuple[int, ...]]:
        """Build layers that follow each other: their names, and a sample's shape behind them."""
        way: list[str | Fork] = []
        for layer in layers:
            if isinstance(layer, Residual):
                fork, shape = self._fork(layer, shape)
                way.append(fork)
                continue
            name = _name(self._count, layer)
            self._count += 1
            if isinstance(layer, Site) and not (self.stands and self.net.norm_at(layer)):
                continue
            part, shape = self._one(layer, name, shape)
            if type(part) is nn.Identity:
                continue
            if name in self.parts:
                raise ValueError(f"two layers of the model are named {name!r}; names must differ")
            self.parts[name] = part
            way.append(name)
        return tuple(way), shape

    def _fork(self, block: Residual, shape: tuple[int, ...]) -> tuple[Fork, tuple[int, ...]]:
        body, end = self.row(block.body, shape)
        shortcut, other = self.row(block.shortcut, shape)
        if end != other:
            raise ValueError(
                f"the block {block.name} adds samples of shapes {end} and {other}; its shortcut "
                "must have the shape of its body"
            )
        return Fork(body, shortcut), end

    def _one(
        self, layer: Layer, name: str, shape: tuple[int, ...]
    ) -> tuple[nn.Module, tuple[int, ...]]:
        """The module of one layer, and a sample's shape behind it."""
        net = self.net
        try:
            part = part_of(layer, shape, net, self.device)
            if isinstance(layer, Site) and type(part) is not nn.Identity:
                check_norm(layer, shape, net)
            if isinstance(layer, Attention) and isinstance(part, SelfAttention) and part.normed:
                check_norm(layer, shape, net)
            after = shape_after(layer, shape, name, net.batch_size)
            if self.wraps and name in net.sites:
                part = wrap_layer(net.norm.name, net.norm.params, part)
        except (UndefinedError, UsageError) as error:
            at_site = isinstance(layer, Site) or (self.wraps and isinstance(error, UndefinedError))
            place = f"at site {name.removesuffix('_norm')}: " if at_site else ""
            raise type(error)(f"{place}{error}") from None
        return part, after


def build(net: Network, device: str = "cpu") -> Net:
    """Build the module on ``device``; on ``"meta"`` its layers hold no numbers.

    A sample's shape is followed through the layers, so that a model's list needs no shape
    arithmetic, and each norm is tried on a small batch in training mode, so that one without
    meaning at its shape is found before any training. Convolutions, linear and recurrent layers
    are left uninitialised: see :func:`initialise`.

    Raises :class:`UndefinedError` where the norm has no meaning at the shape of one of its
    sites and :class:`UsageError` where parameters or shapes do not fit.
    """
    builder = _Builder(net, device)
    way, _ = builder.row(net.layers, net.shape)
    return Net(builder.parts, way).train()


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
        if isinstance(module, RecurrentLayer | Embedding | PatchEmbedding | SelfAttention):
            module.initialise(seed, name)
        if not isinstance(module, nn.Conv2d | nn.Linear | Reparametrized):
            continue
        stored = module.v if isinstance(module, Reparametrized) else module.weight
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
        if isinstance(module, Reparametrized):
            module.initialised()
        if module.bias is not None:
            module.bias.copy_(bias)
