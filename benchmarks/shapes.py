"""How long the matrix products of a step would take alone: a bound that depends on their shapes.

A convolution is the product of (positions × k²·inputs) and (k²·inputs × outputs); its two
gradients have the same three sizes in another order. Only the products are timed: no windows are
laid out, and everything else that a step does is left out.
"""

from __future__ import annotations

import time
from statistics import median

import torch
from torch import Tensor, nn

from benchmarks.script import network
from benchmarks.work import Work


def _sizes(work: Work) -> list[tuple[int, int, int]]:
    """Rows, inner size and columns of each layer's product."""
    net = network(work.model, "none").eval()
    x = torch.zeros(work.batch, *((1, 8, 8) if work.model == "digits" else (3, 64, 64)))
    found = []
    for layer in net:
        y = layer(x)
        if isinstance(layer, nn.Conv2d | nn.Linear):
            inner = layer.weight[0].numel()
            found.append((y.numel() // layer.weight.shape[0], inner, len(layer.weight)))
        x = y
    return found


def _seconds(a: Tensor, b: Tensor) -> float:
    out = torch.bmm(a, b)
    once = time.process_time()
    torch.bmm(a, b, out=out)
    once = time.process_time() - once
    times = []
    for _ in range(max(3, min(100, int(0.1 / once)))):
        started = time.process_time()
        torch.bmm(a, b, out=out)
        times.append(time.process_time() - started)
    return median(times)


@torch.no_grad()
def products_alone(work: Work, width: int) -> float:
    """Seconds per seed's step of all products, ``width`` seeds' in one batched product each.

    The operands stay where they are from one repetition to the next, so small ones are read from
    a cache, as they would be right after they were written.
    """
    total = 0.0
    for place, (rows, inner, columns) in enumerate(_sizes(work)):
        # no more seeds at once than suit a cache: more would only add memory traffic
        seeds = max(1, min(width, (1 << 22) // (4 * rows * max(inner, columns))))
        x, w = torch.randn(seeds, rows, inner), torch.randn(seeds, columns, inner)
        g = torch.randn(seeds, rows, columns)
        spent = _seconds(x, w.transpose(1, 2)) + _seconds(g.transpose(1, 2), x)
        if place:  # nothing before the first layer needs a gradient
            spent += _seconds(g, w)
        total += spent / seeds
    return total
