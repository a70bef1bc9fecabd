"""Axes: from values to places, with ticks at round numbers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Scale:
    """An axis from ``low`` to ``high`` with its ticks; ``log`` places by the logarithm."""

    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]
    log: bool = False

    def places(self, values: ArrayLike) -> Floats:
        """Where values stand, from 0 to 1; what lies outside stands at the edge."""
        given = np.asarray(values, dtype=np.float64)
        low, high = self.low, self.high
        if self.log:
            given = np.log2(np.maximum(given, 1e-300))
            low, high = math.log2(low), math.log2(high)
        clipped: Floats = np.clip((given - low) / (high - low), 0.0, 1.0)
        return clipped


def _step(width: float, count: int) -> float:
    """The round number (1, 2 or 5 times a power of ten) that gives about ``count`` ticks."""
    raw = width / max(count, 1)
    power = 10.0 ** math.floor(math.log10(raw))
    return next((m * power for m in (1, 2, 5) if m * power >= 0.8 * raw), 10 * power)


def linear(values: Iterable[float], *, count: int = 5, zero: bool = False) -> Scale:
    """A linear axis that holds all finite values, from 0 if ``zero``."""
    finite = [float(v) for v in values if math.isfinite(v)]
    low, high = (min(finite), max(finite)) if finite else (0.0, 1.0)
    if zero:
        low, high = min(low, 0.0), max(high, 0.0)
    if not high - low > 1e-9 * max(abs(low), abs(high), 1e-12):
        margin = 0.05 * abs(high) or 0.5
        low, high = low if zero and low == 0.0 else low - margin, high + margin
    else:
        margin = 0.04 * (high - low)
        low, high = low if zero and low == 0.0 else low - margin, high + margin
    step = _step(high - low, count)
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    first = math.ceil(low / step - 1e-9)
    ticks = [i * step for i in range(first, math.floor(high / step + 1e-9) + 1)]
    return Scale(low, high, tuple((t, f"{t + 0.0:,.{digits}f}") for t in ticks))


_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
#: More powers of ten than these would be written over each other.
_MOST_POWERS = 8


def _power(mantissa: int, exponent: int) -> str:
    """A tick of a logarithmic axis; as a power of ten where it would be long in full."""
    if -4 < exponent < 5:
        return f"{mantissa * 10.0**exponent:g}"
    power = f"10{str(exponent).translate(_RAISED)}"
    return power if mantissa == 1 else f"{mantissa}·{power}"


def decades(values: Iterable[float]) -> Scale:
    """A logarithmic axis that holds all finite positive values.

    Ticks are at 1, 2 and 5, at powers of ten, or at some of these, by how far it reaches; where
    that gives fewer than two they are at round numbers.
    """
    finite = [float(v) for v in values if math.isfinite(v) and v > 0]
    low, high = (min(finite), max(finite)) if finite else (0.1, 1.0)
    low, high = low / 1.15, high * 1.15
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    steps = (1, 2, 5) if last - first <= 3 else (1,)
    every = -(-(last - first) // _MOST_POWERS)
    powers = [k for k in range(first, last + 1) if k % every == 0]
    ticks = [(m * 10.0**k, _power(m, k)) for k in powers for m in steps]
    shown = tuple((t, label) for t, label in ticks if low <= t <= high)
    if len(shown) < 2:
        shown = tuple(t for t in linear([low, high], count=3).ticks if low <= t[0] <= high)
    return Scale(low, high, shown, log=True)


def octaves(sizes: Sequence[float], most: int = 12) -> Scale:
    """A logarithmic axis with a tick at every size, half an octave wider on both sides."""
    known = sorted(set(sizes))
    shown = known[:: max(1, -(-len(known) // most))]
    ticks = tuple((float(s), f"{s:g}") for s in shown)
    return Scale(known[0] / 2**0.5, known[-1] * 2**0.5, ticks, log=True)


def slots(labels: Sequence[str]) -> Scale:
    """An axis of labelled slots: slot i reaches from i − ½ to i + ½."""
    ticks = tuple((float(i), label) for i, label in enumerate(labels))
    return Scale(-0.5, len(labels) - 0.5, ticks)
