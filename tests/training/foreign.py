"""Norms of other packages, as people write them; entries of the catalogue point here."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from normbench.catalog import NORMS, Entry
from normbench.plan.spec import RunSpec
from tests.builders import run_of


class FilterResponse(nn.Module):
    """Filter response normalization with its threshold (Singh & Krishnan 2020)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1, channels, 1, 1))
        self.shift = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.threshold = nn.Parameter(torch.zeros(1, channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        power = x.square().mean((2, 3), keepdim=True)
        return torch.maximum(
            self.scale * x * torch.rsqrt(power + 1e-6) + self.shift, self.threshold
        )


class Remembering(nn.Module):
    """Divides by a running deviation, which it changes in place, with an integer that counts."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("deviation", torch.ones(1, channels, 1, 1))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        self.deviation: Tensor
        self.steps: Tensor

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.steps.add_(1)
            seen = x.detach().std((0, 2, 3), keepdim=True)
            self.deviation.mul_(0.9).add_(seen, alpha=0.1)
        return x / (self.deviation + 1 / (1 + self.steps))


class Forgetful(Remembering):
    """The same with a new tensor for each value: a function of the buffers cannot keep it."""

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            seen = x.detach().std((0, 2, 3), keepdim=True)
            self.deviation = 0.9 * self.deviation + 0.1 * seen
        return x / (self.deviation + 1)


class Deciding(nn.Module):
    """Another way for some values than for others."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1, channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        if not x.is_meta and x.sum() > 0:
            return x * self.scale / 2
        return x * self.scale


class Noisy(Deciding):
    """Noise of its own, drawn where the others draw theirs."""

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale + 0.1 * torch.rand_like(x)


class Outside(Deciding):
    """Keeps the last mean as a number of Python."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.last = 0.0

    def forward(self, x: Tensor) -> Tensor:
        centred = x - self.last
        self.last = 0.0 if x.is_meta else float(x.detach().mean())
        return centred * self.scale


class Keeping(Deciding):
    """Keeps the last mean as a tensor that is no buffer."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.last: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        centred = x if self.last is None else x - self.last
        if not x.is_meta:
            self.last = x.detach().mean()
        return centred * self.scale


class Watching(Deciding):
    """Scales by the number of members that it is called for, as if torch told it."""

    def forward(self, x: Tensor) -> Tensor:
        inside = torch._C._functorch.is_batchedtensor(x)
        return x * self.scale * (1 + 1e-6 * inside)


def frn(shape: tuple[int, ...], **_: Any) -> nn.Module:
    return FilterResponse(shape[0])


def remembering(shape: tuple[int, ...], **_: Any) -> nn.Module:
    return Remembering(shape[0])


def forgetful(shape: tuple[int, ...], **_: Any) -> nn.Module:
    return Forgetful(shape[0])


def deciding(shape: tuple[int, ...], **_: Any) -> nn.Module:
    return Deciding(shape[0])


def noisy(shape: tuple[int, ...], **_: Any) -> nn.Module:
    return Noisy(shape[0])


def outside(shape: tuple[int, ...], **_: Any) -> nn.Module:
    return Outside(shape[0])


def keeping(shape: tuple[int, ...], **_: Any) -> nn.Module:
    return Keeping(shape[0])


def watching(shape: tuple[int, ...], **_: Any) -> nn.Module:
    return Watching(shape[0])


def foreign_runs(
    monkeypatch: pytest.MonkeyPatch, name: str, count: int = 1, **axes: Any
) -> list[RunSpec]:
    """Runs with one of the functions of this module as their norm, which the catalogue then has."""
    entry = Entry(f"tests.training.foreign:{name}", "a norm of another package")
    monkeypatch.setitem(NORMS._entries, name, entry)
    small: dict[str, Any] = {"model": {"name": "small-cnn", "width": 4}, "batch_size": 4}
    runs = [run_of(seed, **(small | axes | {"norm": "none"})) for seed in range(count)]
    norm = runs[0].cell.norm.model_copy(update={"name": name})
    return [replace(r, cell=r.cell.model_copy(update={"norm": norm})) for r in runs]
