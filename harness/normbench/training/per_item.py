"""Hits and losses of single items, and how much the statistics of batches spread."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from normbench.norms.batch import BatchNorm
from normbench.plan.seeds import stream_key
from normbench.training.data import EVALUATION_CHUNK, Part
from normbench.training.evaluate import PlainEvaluator

Floats = NDArray[np.float64]


def per_item(
    evaluator: PlainEvaluator, parts: Sequence[Part], batch: int = 0
) -> tuple[Floats, Floats]:
    """Hits (0 or 1) and losses of every item of the parts, in order."""
    hits, losses = [], []
    for part in parts:
        filled = part.whole_batches(batch) if batch else part
        chunk = max(1, EVALUATION_CHUNK // batch) * batch if batch else EVALUATION_CHUNK
        found = []
        for x, y in filled.chunks(chunk):
            out = evaluator.logits(x, "batch" if batch else "running", batch)[0].float()
            loss = functional.cross_entropy(out, y, reduction="none")
            found.append(torch.stack([(out.argmax(1) == y).float(), loss]).double().cpu())
        one = torch.cat(found, dim=1)[:, : len(part)]
        hits.append(one[0].numpy())
        losses.append(one[1].numpy())
    return np.concatenate(hits), np.concatenate(losses)


def in_orders(
    evaluator: PlainEvaluator, parts: Sequence[Part], size: int, orders: int
) -> tuple[Floats, Floats]:
    """Hits and losses with the statistics of batches, each item's mean over orders of all."""
    total = [np.zeros(sum(map(len, parts))) for _ in range(2)]
    for order in range(orders):
        generator = torch.Generator().manual_seed(stream_key(order, "order", "diagnosis"))
        picks = [torch.randperm(len(part), generator=generator) for part in parts]
        shuffled = [part.at(p.to(part.y.device)) for part, p in zip(parts, picks, strict=True)]
        found = per_item(evaluator, shuffled, size)
        start = 0
        for pick in picks:
            place = slice(start, start + len(pick))
            for sum_, values in zip(total, found, strict=True):
                sum_[place][pick.numpy()] += values[place]
            start += len(pick)
    return total[0] / orders, total[1] / orders


def chunks(items: Part, size: int) -> Iterator[Tensor]:
    """The inputs of whole batches, several at a time."""
    return (x for x, _ in items.chunks(max(1, EVALUATION_CHUNK // size) * size))


@contextmanager
def spread(layers: Sequence[BatchNorm], size: int) -> Iterator[Any]:
    """Within, note each batch's mean of every layer's inputs; gives their standard deviations."""
    means: list[list[Tensor]] = [[] for _ in layers]

    def note(place: int) -> Any:
        def hook(module: nn.Module, args: tuple[Tensor, ...]) -> None:
            x = args[0].detach()
            if getattr(module, "mode", "") == "collect" and x.shape[0] % size == 0:
                grouped = x.double().reshape(-1, size, x.shape[1], math.prod(x.shape[2:]))
                means[place].append(grouped.mean(dim=(1, 3)).cpu())

        return hook

    handles = [layer.register_forward_pre_hook(note(i)) for i, layer in enumerate(layers)]
    try:
        yield lambda: [
            torch.cat(one).std(dim=0)
            if one and sum(map(len, one)) > 1
            else torch.full((1,), torch.nan)
            for one in means
        ]
    finally:
        for handle in handles:
            handle.remove()
