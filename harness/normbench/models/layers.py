"""The words in which a model is described.

A model is a list of these. The plain builder makes a module of it; a builder for many seeds
at once can read the same list, so that both train the same network.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

CellKind = Literal["lstm", "gru", "rnn"]


@dataclass(frozen=True)
class Conv:
    """A 2-d convolution with bias; ``name`` keys its initial weights and its site."""

    name: str
    channels: int
    kernel: int
    stride: int = 1
    padding: int = 0


@dataclass(frozen=True)
class Linear:
    """A fully connected layer with bias; it flattens nothing.

    It takes vectors, or with ``tokens`` the vectors (tokens, features), each by itself.
    """

    name: str
    features: int
    tokens: bool = False


@dataclass(frozen=True)
class Site:
    """A place where a norm may stand: before (``pre``) or after (``post``) the activation.

    ``name`` is the layer it belongs to. Both positions of a site are in the list; the protocol's
    ``position`` says which of them is used. With ``zero_scale`` the norm's scale starts at 0, if
    it has one. With ``tokens`` it stands on (tokens, features), and normalizes each token.
    """

    name: str
    position: str
    zero_scale: bool = False
    tokens: bool = False


@dataclass(frozen=True)
class ReLU:
    """The activation max(x, 0)."""


@dataclass(frozen=True)
class MaxPool:
    """Maximum over windows of ``kernel``² pixels."""

    kernel: int
    stride: int


@dataclass(frozen=True)
class Flatten:
    """(C, H, W) to (C·H·W,)."""


@dataclass(frozen=True)
class Dropout:
    """Dropout whose masks come from the stream of its ``name``."""

    name: str
    p: float


@dataclass(frozen=True)
class GlobalMean:
    """(C, H, W) to (C,): the mean over all positions of each channel."""


@dataclass(frozen=True)
class Residual:
    """A block whose input is added to its output: y = body(x) + shortcut(x).

    ``name`` is the block's; the layers within have names of their own, unique in the whole model.
    An empty ``shortcut`` is the identity.
    """

    name: str
    body: tuple[Layer, ...]
    shortcut: tuple[Layer, ...] = ()


@dataclass(frozen=True)
class Recurrent:
    """A recurrent layer: (features, steps) to its last hidden state, (hidden,).

    ``name`` keys its initial weights. A norm may stand inside it, at the sites ``input`` (on
    W_x x), ``hidden`` (on W_h h) and, in an LSTM, ``cell`` (on its state before the output).
    """

    name: str
    kind: CellKind
    hidden: int

    @property
    def sites(self) -> tuple[str, ...]:
        """Where a norm may stand."""
        return ("input", "hidden", "cell") if self.kind == "lstm" else ("input", "hidden")


@dataclass(frozen=True)
class Embed:
    """Tokens (tokens,) of a vocabulary to vectors (tokens, width), their positions added."""

    name: str
    width: int
    vocabulary: int


@dataclass(frozen=True)
class Patches:
    """(C, H, W) in patches of ``patch``² pixels, or (features, steps), to (tokens, width)."""

    name: str
    width: int
    patch: int


@dataclass(frozen=True)
class Attention:
    """Self-attention, (tokens, width) to the same; with ``causal`` tokens see no later ones.

    Where ``block`` is named, norms may stand on its queries and keys, at the sites <block>_query
    and <block>_key.
    """

    name: str
    heads: int
    causal: bool
    block: str = ""

    @property
    def sites(self) -> tuple[str, ...]:
        """Where a norm may stand."""
        return (f"{self.block}_query", f"{self.block}_key") if self.block else ()


@dataclass(frozen=True)
class Gelu:
    """The activation x·Φ(x) (Hendrycks & Gimpel 2016)."""


@dataclass(frozen=True)
class TokenMean:
    """(tokens, width) to (width,): the mean over all tokens."""


Layer = (
    Conv | Linear | Site | ReLU | MaxPool | Flatten | Dropout | GlobalMean | Residual | Recurrent
    | Embed | Patches | Attention | Gelu | TokenMean
)  # fmt: skip


def flat(layers: Sequence[Layer]) -> Iterator[Layer]:
    """All layers in order, those of blocks in the block's place: its body, then its shortcut."""
    for layer in layers:
        if isinstance(layer, Residual):
            yield from flat((*layer.body, *layer.shortcut))
        else:
            yield layer


def activated(layer: Conv | Linear) -> list[Layer]:
    """A layer with weights, its activation, and its site on both sides of the activation."""
    return [layer, Site(layer.name, "pre"), ReLU(), Site(layer.name, "post")]


def site_names(layers: Sequence[Layer]) -> list[str]:
    """The names of a model's sites, in order."""
    names: dict[str, None] = {}
    for layer in flat(layers):
        if isinstance(layer, Site):
            names[layer.name] = None
        elif isinstance(layer, Recurrent | Attention):
            names |= dict.fromkeys(layer.sites)
    return list(names)
