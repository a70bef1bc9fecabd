"""Drawing: panels in a grid with axes, lines, bands and dots, written as SVG text.

A report holds dozens of panels. Written directly they take milliseconds and a few kilobytes
each, the same bytes for the same data; text is left to the page's font and colour.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

import numpy as np
from numpy.typing import ArrayLike

from normbench.figures.scales import Scale

FAINT = "#808080"
_LEFT, _TOP, _RIGHT, _BOTTOM = 42.0, 18.0, 10.0, 34.0
_LINE = 14.0


def number(value: float) -> str:
    """A coordinate, to a tenth of a point."""
    text = f"{value:.1f}"
    return text[:-2] if text.endswith(".0") else text


def shape(marker: str, x: float, y: float, r: float) -> str:
    """The path of a marker around a point; every marker has about the same area."""
    corners = {
        "s": [(-0.85, -0.85), (0.85, -0.85), (0.85, 0.85), (-0.85, 0.85)],
        "^": [(0, -1.15), (1.05, 0.75), (-1.05, 0.75)],
        "v": [(0, 1.15), (1.05, -0.75), (-1.05, -0.75)],
        "D": [(0, -1.2), (1.2, 0), (0, 1.2), (-1.2, 0)],
        "P": [(-0.4, -1.1), (0.4, -1.1), (0.4, -0.4), (1.1, -0.4), (1.1, 0.4), (0.4, 0.4),
              (0.4, 1.1), (-0.4, 1.1), (-0.4, 0.4), (-1.1, 0.4), (-1.1, -0.4), (-0.4, -0.4)],
        "X": [(-1.1, -0.6), (-0.6, -1.1), (0, -0.5), (0.6, -1.1), (1.1, -0.6), (0.5, 0),
              (1.1, 0.6), (0.6, 1.1), (0, 0.5), (-0.6, 1.1), (-1.1, 0.6), (-0.5, 0)],
        "*": [(math.sin(i * math.pi / 5) * (1.3 if i % 2 == 0 else 0.55),
               -math.cos(i * math.pi / 5) * (1.3 if i % 2 == 0 else 0.55)) for i in range(10)],
    }.get(marker)  # fmt: skip
    if corners is None:
        across, half = number(2 * r), f"a{number(r)} {number(r)} 0 1 0"
        return f"M{number(x - r)} {number(y)}{half} {across} 0{half} -{across} 0Z"
    return "M" + "L".join(f"{number(x + r * a)} {number(y + r * b)}" for a, b in corners) + "Z"


@dataclass(frozen=True)
class Key:
    """An entry of the legend."""

    label: str
    colour: str
    marker: str = ""
    dash: str = ""


@dataclass
class Panel:
    """One pair of axes; everything is drawn in the units of its scales."""

    x: Scale
    y: Scale
    left: float
    top: float
    width: float
    height: float
    parts: list[str] = field(default_factory=list)

    def _points(self, xs: ArrayLike, ys: ArrayLike) -> list[tuple[float, float]]:
        place_x, place_y = self.x.places(xs), self.y.places(ys)
        found = np.broadcast_arrays(place_x, place_y)
        across = self.left + self.width * found[0].ravel()
        down = self.top + self.height * (1.0 - found[1].ravel())
        return list(zip(across.tolist(), down.tolist(), strict=True))

    def line(
        self, xs: ArrayLike, ys: ArrayLike, colour: str, *, dash: str = "", width: float = 1.5
    ) -> None:
        """A line; where a value is not a number it is interrupted."""
        texts, pen = [], "M"
        for x, y in self._points(xs, ys):
            if math.isnan(x) or math.isnan(y):
                pen = "M"
                continue
            texts.append(f"{pen}{number(x)} {number(y)}")
            pen = "L"
        dashed = f' stroke-dasharray="{dash}"' if dash else ""
        if texts:
            self.parts.append(
                f'<path d="{"".join(texts)}" fill="none" stroke="{colour}" '
                f'stroke-width="{number(width)}"{dashed}/>'
            )

    def band(self, xs: ArrayLike, lows: ArrayLike, highs: ArrayLike, colour: str) -> None:
        """The area between two lines; values that are not numbers are left out."""
        upper, lower = self._points(xs, highs), self._points(xs, lows)
        pairs = [
            (u, v)
            for u, v in zip(upper, lower, strict=True)
            if not any(math.isnan(c) for c in (*u, *v))
        ]
        if len(pairs) < 2:
            return
        around = [u for u, _ in pairs] + [v for _, v in reversed(pairs)]
        path = "M" + "L".join(f"{number(x)} {number(y)}" for x, y in around) + "Z"
        self.parts.append(f'<path d="{path}" fill="{colour}" fill-opacity=".15"/>')

    def dots(self, xs: ArrayLike, ys: ArrayLike, colour: str, *, opacity: float = 0.5) -> None:
        """Small round dots, all in one path."""
        path = "".join(
            f"M{number(x)} {number(y)}h0" for x, y in self._points(xs, ys) if not math.isnan(y)
        )
        if path:
            self.parts.append(
                f'<path d="{path}" stroke="{colour}" stroke-width="3" stroke-linecap="round" '
                f'stroke-opacity="{opacity:g}"/>'
            )

    def marks(
        self, xs: ArrayLike, ys: ArrayLike, colour: str, marker: str, *, size: float = 3.0,
        hollow: bool = False,
    ) -> None:  # fmt: skip
        """Markers, filled or hollow, all in one path; ``x`` is a cross of two strokes."""
        points = [(x, y) for x, y in self._points(xs, ys) if not math.isnan(y)]
        if not points:
            return
        if marker == "x":
            s = number(2 * size)
            path = "".join(
                f"M{number(x - size)} {number(y - size)}l{s} {s}m-{s} 0l{s} -{s}" for x, y in points
            )
        else:
            path = "".join(shape(marker, x, y, size) for x, y in points)
        look = (
            f'fill="none" stroke="{colour}" stroke-width="1.1"'
            if hollow or marker == "x"
            else f'fill="{colour}"'
        )
        self.parts.append(f'<path d="{path}" {look}/>')

    def bars(
        self, xs: ArrayLike, lows: ArrayLike, highs: ArrayLike, colour: str, *, width: float = 1.3
    ) -> None:
        """Upright intervals; those that are not finite at both ends are left out."""
        ends = zip(self._points(xs, lows), self._points(xs, highs), strict=True)
        path = "".join(
            f"M{number(x)} {number(y)}V{number(z)}"
            for (x, y), (_, z) in ends
            if not (math.isnan(y) or math.isnan(z))
        )
        if path:
            self.parts.append(
                f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="{number(width)}"/>'
            )

    def level(self, y: float, *, dash: str = "4 3") -> None:
        """A faint line across, at a value."""
        if self.y.low <= y <= self.y.high:
            self.line([self.x.low, self.x.high], [y, y], FAINT, dash=dash, width=0.9)

    def note(self, x: float, y: float, text: str, *, down: float = -4.0) -> None:
        """A few small words above a place, or ``down`` points below it."""
        ((across, at),) = self._points([x], [y])
        self.parts.append(
            f'<text x="{number(across)}" y="{number(at + down)}" font-size="6.5" '
            f'text-anchor="middle">{escape(text)}</text>'
        )


@dataclass
class Canvas:
    """A figure: panels of one size in ``columns`` columns, with a legend above."""

    columns: int
    width: float
    height: float
    legend: Sequence[Key] = ()
    _drawn: list[Panel] = field(default_factory=list)
    _parts: list[str] = field(default_factory=list)
    _key_height: float = 0.0

    def __post_init__(self) -> None:
        self._parts.append(self._legend())

    @property
    def _across(self) -> float:
        return self.columns * (_LEFT + self.width + _RIGHT) + 6

    def _legend(self) -> str:
        parts, x, y = [], _LEFT, 10.0
        for key in self.legend:
            room = 24 + 4.9 * len(key.label)
            if x > _LEFT and x + room > self._across:
                x, y = _LEFT, y + _LINE
            dash = f' stroke-dasharray="{key.dash}"' if key.dash else ""
            parts.append(
                f'<path d="M{number(x)} {number(y)}h16" stroke="{key.colour}" '
                f'stroke-width="1.6"{dash}/>'
            )
            if key.marker:
                path = shape(key.marker, x + 8, y, 3)
                parts.append(f'<path d="{path}" fill="{key.colour}"/>')
            parts.append(
                f'<text x="{number(x + 20)}" y="{number(y + 3)}">{escape(key.label)}</text>'
            )
            x += room + 8
        self._key_height = y + 9 if self.legend else 0.0
        return "".join(parts)

    def panel(
        self, x: Scale, y: Scale, *, title: str = "", across: str = "", up: str = ""
    ) -> Panel:
        """The next panel, with its axes drawn."""
        row, column = divmod(len(self._drawn), self.columns)
        left = column * (_LEFT + self.width + _RIGHT) + _LEFT + 6
        top = self._key_height + row * (_TOP + self.height + _BOTTOM) + _TOP
        panel = Panel(x, y, left, top, self.width, self.height)
        bottom, right = top + self.height, left + self.width
        grid, words = [], []
        for value, label in x.ticks:
            place = left + self.width * float(x.places(value))
            grid.append(f"M{number(place)} {number(top)}V{number(bottom)}")
            words.append(_text(place, bottom + 11, label, "middle"))
        for value, label in y.ticks:
            place = top + self.height * (1 - float(y.places(value)))
            grid.append(f"M{number(left)} {number(place)}H{number(right)}")
            words.append(_text(left - 4, place + 3, label, "end"))
        if title:
            words.append(_text(left + self.width / 2, top - 6, title, "middle"))
        if across:
            words.append(_text(left + self.width / 2, bottom + 24, across, "middle"))
        if up and column == 0:
            down = top + self.height / 2
            words.append(
                f'<text transform="translate({number(left - 36)} {number(down)}) rotate(-90)" '
                f'text-anchor="middle">{escape(up)}</text>'
            )
        self._parts.append(
            f'<path d="{"".join(grid)}" stroke="{FAINT}" stroke-opacity=".22" stroke-width=".6"/>'
            f'<path d="M{number(left)} {number(top)}V{number(bottom)}H{number(right)}" '
            f'fill="none" stroke="{FAINT}" stroke-width=".8"/>' + "".join(words)
        )
        self._drawn.append(panel)
        return panel

    def svg(self, label: str) -> str:
        """The figure as an ``<svg>`` element with an accessible name."""
        rows = -(-max(len(self._drawn), 1) // self.columns)
        down = self._key_height + rows * (_TOP + self.height + _BOTTOM)
        box = f"0 0 {number(self._across)} {number(down)}"
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{box}" role="img" '
            f'aria-label="{escape(label, quote=True)}"><g font-size="9" fill="currentColor">'
            + "".join(self._parts)
            + "".join(part for panel in self._drawn for part in panel.parts)
            + "</g></svg>"
        )


def _text(x: float, y: float, text: str, anchor: str) -> str:
    place = f'x="{number(x)}" y="{number(y)}"'
    return f'<text {place} text-anchor="{anchor}">{escape(text)}</text>'
