"""The modules of a transformer: what makes tokens, attention, and norms of each token.

Tokens are (N, tokens, width): their features come last.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from normbench.plan.seeds import stream_key

#: The deviation of initial embeddings, as in GPT-2 and in vision transformers.
_DEVIATION = 0.02


class Embedding(nn.Module):
    """Tokens (N, tokens), whole numbers of any type, to learned vectors plus those of positions."""

    def __init__(self, vocabulary: int, tokens: int, width: int, device: str) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(vocabulary, width, device=device))
        self.position = nn.Parameter(torch.empty(tokens, width, device=device))

    def forward(self, x: Tensor) -> Tensor:
        """Shorter sequences have the first positions."""
        found: Tensor = functional.embedding(x.long(), self.weight) + self.position[: x.shape[1]]
        return found

    @torch.no_grad()
    def initialise(self, seed: int, name: str) -> None:
        """Normal numbers of deviation 0.02, each parameter from its own stream."""
        for part, values in (("", self.weight), (" position", self.position)):
            _draw(values, seed, f"{name}{part}", lambda x, g: x.normal_(0, _DEVIATION, generator=g))


class PatchEmbedding(nn.Module):
    """Images (N, C, H, W) in patches, or series (N, features, steps), to tokens with positions."""

    def __init__(self, shape: tuple[int, ...], width: int, patch: int, device: str) -> None:
        super().__init__()
        self.patch = patch if len(shape) == 3 else 0
        features = shape[0] * patch**2 if self.patch else shape[0]
        tokens = (shape[1] // patch) * (shape[2] // patch) if self.patch else shape[1]
        self.linear = nn.Linear(features, width, device="meta").to_empty(device=device)
        self.position = nn.Parameter(torch.empty(tokens, width, device=device))

    def forward(self, x: Tensor) -> Tensor:
        """Patches in reading order."""
        p = self.patch
        if p:
            n, channels, height, width = x.shape
            cut = x.reshape(n, channels, height // p, p, width // p, p).permute(0, 2, 4, 1, 3, 5)
            x = cut.reshape(n, -1, channels * p * p)
        else:
            x = x.transpose(1, 2)
        found: Tensor = self.linear(x) + self.position[: x.shape[1]]
        return found

    @torch.no_grad()
    def initialise(self, seed: int, name: str) -> None:
        """The linear layer by torch's law, positions normal with deviation 0.02."""
        _initialise_linear(self.linear, seed, name)
        _draw(
            self.position, seed, f"{name} position",
            lambda x, g: x.normal_(0, _DEVIATION, generator=g),
        )  # fmt: skip


class SelfAttention(nn.Module):
    """softmax(q·kᵀ/√(width of a head))·v in ``heads`` heads, and a linear layer behind them.

    With ``causal`` a token sees those before it and itself alone. ``query_norm`` and ``key_norm``
    see (N, heads, tokens, width of a head), the same for all heads.
    """

    def __init__(
        self, width: int, heads: int, causal: bool, query_norm: nn.Module, key_norm: nn.Module,
        device: str,
    ) -> None:  # fmt: skip
        super().__init__()
        self.heads, self.causal = heads, causal
        self.qkv = nn.Linear(width, 3 * width, device="meta").to_empty(device=device)
        self.out = nn.Linear(width, width, device="meta").to_empty(device=device)
        self.query_norm, self.key_norm = query_norm, key_norm

    @property
    def normed(self) -> bool:
        """Whether a norm stands in here."""
        return any(type(norm) is not nn.Identity for norm in (self.query_norm, self.key_norm))

    def forward(self, x: Tensor) -> Tensor:
        """Attend, (N, tokens, width) to the same shape."""
        n, tokens, width = x.shape
        parts = self.qkv(x).reshape(n, tokens, 3, self.heads, width // self.heads)
        q, k, v = parts.permute(2, 0, 3, 1, 4).unbind(0)
        q, k = self.query_norm(q), self.key_norm(k)
        # written out, so that one run and several at once compute the same; in float32 at least
        scores = (q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])).to(self.out.weight.dtype)
        if self.causal:
            later = torch.ones(tokens, tokens, dtype=torch.bool, device=x.device).triu(1)
            scores = scores.masked_fill(later, -math.inf)
        mixed = scores.softmax(-1).to(v.dtype) @ v
        found: Tensor = self.out(mixed.transpose(1, 2).reshape(n, tokens, width))
        return found

    @torch.no_grad()
    def initialise(self, seed: int, name: str) -> None:
        """Both linear layers by torch's law, each from its own stream."""
        _initialise_linear(self.qkv, seed, f"{name} qkv")
        _initialise_linear(self.out, seed, f"{name} out")


class TokenNorm(nn.Module):
    """A norm of each token by itself, or of each feature over the batch and all tokens.

    ``norm`` is built for samples (features,), or where it takes statistics over the ``batch`` for
    (features, tokens), which it sees as (N, features, tokens). Of heads, each has its tokens.
    """

    def __init__(self, norm: nn.Module, batch: bool) -> None:
        super().__init__()
        self.norm, self.batch = norm, batch

    def forward(self, x: Tensor) -> Tensor:
        """Normalize (N, …, features)."""
        if self.batch:
            flat = x.flatten(1, -2).transpose(1, 2)
            found: Tensor = self.norm(flat).transpose(1, 2).reshape(x.shape)
            return found
        return self.norm(x.flatten(0, -2)).reshape(x.shape)  # type: ignore[no-any-return]


class MeanOfTokens(nn.Module):
    """The mean over all tokens: (N, tokens, width) to (N, width)."""

    def forward(self, x: Tensor) -> Tensor:
        """Average over tokens."""
        return x.mean(1)


def _draw(
    values: Tensor, seed: int, name: str, fill: Callable[[Tensor, torch.Generator], Tensor]
) -> None:
    """Set values by numbers that are drawn on the CPU in float32, whatever their own device."""
    generator = torch.Generator().manual_seed(stream_key(seed, "init", name))
    values.copy_(fill(torch.empty(values.shape), generator))


def _initialise_linear(layer: nn.Linear, seed: int, name: str) -> None:
    bound = 1.0 / math.sqrt(layer.in_features)
    for part, values in (("", layer.weight), (" bias", layer.bias)):
        _draw(values, seed, f"{name}{part}", lambda x, g: x.uniform_(-bound, bound, generator=g))
