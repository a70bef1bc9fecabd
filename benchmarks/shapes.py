"""A step's matrix products, and passes over its values, alone: its bounds.

A convolution is the product of (positions × k²·inputs) and (k²·inputs × outputs); its two
gradients have the same three sizes in another order. The products are timed in the order of a step,
each seed with weights, outputs and velocities of its own, and the update with them. No windows are
laid out, and everything else that a step does is left out.

Between the products every value is read and written by each layer, forward and backward. A norm
goes over its values at least twice each way: for the statistics, and for what follows from them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.script import network
from benchmarks.work import Work
from normbench.models.packed.pieces import pieces


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


def seconds_of(function: Callable[[], Any], least: float = 0.05) -> float:
    """The CPU time of a call, the mean over calls for ``least`` seconds after a first one."""
    function()
    started, count, spent = time.process_time(), 0, 0.0
    while spent < least:
        function()
        spent, count = time.process_time() - started, count + 1
    return spent / count


@torch.no_grad()
def passes_alone(work: Work, width: int) -> Callable[[], None]:
    """Reads and writes what every layer gives, forward and backward, when called.

    All ``width`` seeds' values are copied at once, as one operation on them would go over them.
    """
    copies: list[Callable[[], Any]] = []
    net, x = network(work.model, work.norm).eval(), _input(work)
    for layer in net:
        x = layer(x)
        if isinstance(layer, nn.Flatten | nn.Dropout):
            continue
        passes = 4 if "Norm" in type(layer).__name__ else 2
        values = torch.randn(width, x.numel())
        copies += [partial(torch.empty_like(values).copy_, values)] * passes

    def step() -> None:
        for copy in copies:
            copy()

    return step


@torch.no_grad()
def products_alone(work: Work, width: int) -> Callable[[], None]:
    """Computes all products and the update, in the order of a step, when called.

    Every seed has its own weights, outputs and velocities, as in a group, so that most of them come
    from memory; only the rows of windows stay in a cache, as if nobody laid them out.
    """
    sizes = _sizes(work)
    total = width * sum(inner * columns for _, inner, columns in sizes)
    weights, velocities = torch.randn(total) / 100, torch.zeros(total)
    layers, start = list[_Products](), 0
    for rows, inner, columns in sizes:
        own = slice(start, start + width * inner * columns)
        shape = (width, columns, inner)
        layers.append(_Products(weights[own].view(shape), velocities[own].view(shape), rows))
        start = own.stop

    def step() -> None:
        for layer in layers:
            layer.forward()
        for place, layer in reversed(list(enumerate(layers))):
            layer.backward(passes_back=place > 0)
        weights.sub_(velocities, alpha=1e-9)

    return step


class _Products:
    """The products of one layer of several seeds, rows piece by piece."""

    def __init__(self, weight: Tensor, velocity: Tensor, rows: int) -> None:
        self.weight, self.velocity = weight, velocity
        seeds, columns, inner = weight.shape
        self.output = torch.randn(seeds, rows, columns)
        self.gradient = torch.randn(seeds, rows, columns)
        self.pieces = pieces(seeds, rows, 4 * inner)
        some, part = self.pieces[0]
        self.laid_out = torch.randn(some.stop, part.stop, inner)
        self.back = torch.empty_like(self.laid_out)

    def _rows(self, memory: Tensor, part: Tensor) -> Tensor:
        return memory[: part.shape[0], : part.shape[1]]

    def forward(self) -> None:
        for piece in self.pieces:
            out = self.output[piece]
            rows = self._rows(self.laid_out, out)
            torch.bmm(rows, self.weight[piece[0]].transpose(1, 2), out=out)

    def backward(self, *, passes_back: bool) -> None:
        for piece in self.pieces:
            given, weight = self.gradient[piece], self.weight[piece[0]]
            rows, out = self._rows(self.laid_out, given), self.velocity[piece[0]]
            out.baddbmm_(given.transpose(1, 2), rows, beta=1.0 if piece[1].start else 0.9)
            if passes_back:
                torch.bmm(given, weight, out=self._rows(self.back, given))
