"""How long a step's matrix products, and passes over its values, would take alone: its bounds.

A convolution is the product of (positions × k²·inputs) and (k²·inputs × outputs); its two
gradients have the same three sizes in another order. Only the products are timed: no windows are
laid out, and everything else that a step does is left out.

Between the products every value is read and written by each layer, forward and backward. A norm
goes over its values at least twice each way: for the statistics, and for what follows from them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.script import network
from benchmarks.work import Work


def _input(work: Work) -> Tensor:
    return torch.zeros(work.batch, *((1, 8, 8) if work.model == "digits" else (3, 64, 64)))


def _sizes(work: Work) -> list[tuple[int, int, int]]:
    """Rows, inner size and columns of each layer's product."""
    net, x = network(work.model, "none").eval(), _input(work)
    found = []
    for layer in net:
        y = layer(x)
        if isinstance(layer, nn.Conv2d | nn.Linear):
            inner = layer.weight[0].numel()
            found.append((y.numel() // layer.weight.shape[0], inner, len(layer.weight)))
        x = y
    return found


def _seconds(a: Tensor, b: Tensor) -> float:
    return _median_seconds(partial(torch.bmm, a, b, out=torch.bmm(a, b)))


def _median_seconds(function: Callable[[], Any]) -> float:
    """The median CPU time of a call, over repetitions of several calls where one is short."""
    function()
    once = time.process_time()
    function()
    once = max(time.process_time() - once, 1e-7)
    together = max(1, int(1e-3 / once))
    times = []
    for _ in range(max(3, min(100, int(0.1 / once / together)))):
        started = time.process_time()
        for _ in range(together):
            function()
        times.append((time.process_time() - started) / together)
    return median(times)


@torch.no_grad()
def passes_alone(work: Work, width: int) -> float:
    """Seconds per seed's step of reading and writing what every layer gives, forward and backward.

    All ``width`` seeds' values are copied at once, as one operation on them would go over them.
    """
    total = 0.0
    net, x = network(work.model, work.norm).eval(), _input(work)
    for layer in net:
        x = layer(x)
        if isinstance(layer, nn.Flatten | nn.Dropout):
            continue
        passes = 4 if "Norm" in type(layer).__name__ else 2
        values = torch.randn(width, x.numel())
        total += passes * _median_seconds(partial(torch.empty_like(values).copy_, values)) / width
    return total


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
