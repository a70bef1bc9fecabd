"""From raw blocks to ratios, spreads and medians."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from statistics import median, quantiles
from typing import Any

from benchmarks.work import BARS, LEAST, PEAK_BARS, Work

#: A block in which the wall-clock ran this much longer than the CPU was disturbed.
_DISTURBED = 1.05


@dataclass(frozen=True)
class Spread:
    """A median over rounds and the range that holds the middle 80 % of them."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: list[float]) -> Spread:
        """The spread of at least two values."""
        tenths = quantiles(values, n=10, method="inclusive")
        return cls(median(values), tenths[0], tenths[-1])


def disturbed(cells: list[dict[str, Any]]) -> float:
    """The share of blocks in which something else had the core for a while."""
    ratios = [b[0] / b[1] for cell in cells for blocks in cell["blocks"].values() for b in blocks]
    return sum(ratio > _DISTURBED for ratio in ratios) / max(1, len(ratios))


def clock_of(cells: list[dict[str, Any]]) -> int:
    """0 for wall-clock time where at most a tenth of the blocks was disturbed, else 1, CPU time."""
    return 0 if disturbed(cells) <= 0.1 else 1


def costs(cell: dict[str, Any], kind: str, clock: int) -> list[float]:
    """Seconds per unit (a seed's step; a floating-point operation) in each round."""
    return [block[clock] / block[2] for block in cell["blocks"][kind]]


def ratio(cell: dict[str, Any], kind: str, to: str, clock: int) -> Spread:
    """How many times faster ``kind`` is than ``to``, compared round by round."""
    mine, theirs = costs(cell, kind, clock), costs(cell, to, clock)
    return Spread.of([b / a for a, b in zip(mine, theirs, strict=True)])


@lru_cache
def flops(work: Work) -> int:
    """Floating-point operations of a step's matrix products and convolutions, on the plain net."""
    import torch
    from torch.nn import functional
    from torch.utils.flop_counter import FlopCounterMode

    from benchmarks.script import network

    net = network(work.model, work.norm).train()
    shape = (1, 8, 8) if work.model == "digits" else (3, 64, 64)
    x, y = torch.zeros(work.batch, *shape), torch.zeros(work.batch, dtype=torch.int64)
    with FlopCounterMode(display=False) as counter:
        functional.cross_entropy(net(x), y).backward()
    return int(counter.get_total_flops())


def share_of_peak(cell: dict[str, Any], kind: str, clock: int) -> float:
    """The share of the multiply peak, measured in the same rounds, that a contender reaches."""
    work = Work(cell["model"], cell["norm"], cell["batch"])
    peak = costs(cell, "peak", clock)
    return median(flops(work) * p / c for p, c in zip(peak, costs(cell, kind, clock), strict=True))


@dataclass(frozen=True)
class Against:
    """A model and batch size against its bars."""

    model: str
    batch: int
    ratio: float
    bar: float
    least: float
    least_norm: str
    share: float
    share_of_a: float
    share_bar: float | None
    norms: int

    @property
    def met(self) -> bool:
        """Whether the bar of the ratio is met, and that of the least norm."""
        return self.ratio >= self.bar and self.least >= LEAST


def against_bars(cells: list[dict[str, Any]], clock: int) -> list[Against]:
    """Medians over the norms, by model and batch size."""
    found = []
    for model, bars in BARS.items():
        for batch, bar in bars.items():
            same = [c for c in cells if (c["model"], c["batch"]) == (model, batch)]
            if not same:
                continue
            ratios = {cell["norm"]: ratio(cell, "c", "a", clock).median for cell in same}
            least = min(ratios, key=lambda norm: ratios[norm])
            found.append(
                Against(
                    model, batch, median(ratios.values()), bar, ratios[least], least,
                    median(share_of_peak(cell, "c", clock) for cell in same),
                    median(share_of_peak(cell, "a", clock) for cell in same),
                    PEAK_BARS[batch] if model == "alexnet" else None, len(same),
                )
            )  # fmt: skip
    return found
