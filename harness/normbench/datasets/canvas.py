"""A small painter of soft-edged shapes on numpy arrays, the same at every resolution.

Coordinates are those of the scene: x to the right and y downwards, both from 0 to 1. A shape
is an array of signed distances (negative inside, in the shape's own unit), so that shapes join
by ``minimum`` and soften by a width; nothing is drawn by a library whose rounding may change.
Distances of ellipses are the usual first-order estimates; those of triangles and segments are
exact (formulas after Quilez, "2D distance functions").
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float64]
Point = tuple[float, float]
Colour = NDArray[np.float64]


@dataclass(frozen=True)
class Frame:
    """A local coordinate system over a window of the picture.

    ``u`` and ``v`` are the coordinates of the window's pixels, of shape (rows, columns).
    ``origin`` (in the scene), ``unit`` (in scene units) and ``angle`` (radians) say where the
    system lies; ``window`` are the rows and columns of the picture that it covers.
    """

    u: Field
    v: Field
    origin: Point
    unit: float
    angle: float
    window: tuple[slice, slice]
    resolution: int

    def _seen(self, point: Point) -> Point:
        """Where a point of this frame lies in the scene."""
        c, s = float(np.cos(self.angle)), float(np.sin(self.angle))
        x, y = point
        return (
            self.origin[0] + self.unit * (c * x - s * y),
            self.origin[1] + self.unit * (s * x + c * y),
        )

    def moved(self, centre: Point, scale: float, angle: float = 0.0) -> Frame:
        """The frame with its origin at ``centre``, its unit ``scale``, turned by ``angle``."""
        c, s = np.cos(angle), np.sin(angle)
        x, y = self.u - centre[0], self.v - centre[1]
        return Frame(
            (c * x + s * y) / scale, (c * y - s * x) / scale, self._seen(centre),
            self.unit * scale, self.angle + angle, self.window, self.resolution,
        )  # fmt: skip

    def near(self, point: Point, reach: float) -> Frame:
        """The same frame on the pixels about ``point`` alone, at least ``reach`` in every way."""
        x, y = self._seen(point)
        # 0.03: the widest edge that a lens gives, and a pixel beyond it
        half = reach * self.unit + 0.03 + 2.0 / self.resolution
        inner, outer = [], []
        for middle, part in ((y, self.window[0]), (x, self.window[1])):
            first = max(part.start, int(np.floor((middle - half) * self.resolution)))
            last = min(part.stop, int(np.ceil((middle + half) * self.resolution)))
            first = min(first, part.stop)
            outer.append(slice(first, max(first, last)))
            inner.append(slice(first - part.start, max(first, last) - part.start))
        rows, columns = inner
        return replace(
            self, u=self.u[rows, columns], v=self.v[rows, columns], window=(outer[0], outer[1])
        )


def scene(resolution: int) -> Frame:
    """The frame of the whole picture, from (0, 0) at the top left to (1, 1)."""
    middle = (np.arange(resolution) + 0.5) / resolution
    v, u = np.meshgrid(middle, middle, indexing="ij")
    whole = slice(0, resolution)
    return Frame(u, v, (0.0, 0.0), 1.0, 0.0, (whole, whole), resolution)


def ellipse(f: Frame, centre: Point, radii: Point, angle: float = 0.0) -> Field:
    """Distance to an ellipse with the given half-axes, turned by ``angle``."""
    g = f.moved(centre, 1.0, angle)
    a, b = radii
    first = np.sqrt((g.u / a) ** 2 + (g.v / b) ** 2)
    second = np.sqrt((g.u / (a * a)) ** 2 + (g.v / (b * b)) ** 2)
    return first * (first - 1.0) / np.maximum(second, 1e-9)


def segment(f: Frame, a: Point, b: Point, width: float) -> Field:
    """Distance to a line from ``a`` to ``b`` with round ends, ``width`` thick."""
    px, py = f.u - a[0], f.v - a[1]
    bx, by = b[0] - a[0], b[1] - a[1]
    t = np.clip((px * bx + py * by) / max(bx * bx + by * by, 1e-12), 0.0, 1.0)
    return np.sqrt((px - t * bx) ** 2 + (py - t * by) ** 2) - width / 2


def triangle(f: Frame, a: Point, b: Point, c: Point, rounding: float = 0.0) -> Field:
    """Distance to a triangle whose corners are rounded outwards by ``rounding``."""
    corners = (a, b, c)
    area = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
    turn = 1.0 if area > 0 else -1.0
    nearest = np.full(f.u.shape, np.inf)
    inside = np.full(f.u.shape, np.inf)
    for start, end in zip(corners, corners[1:] + corners[:1], strict=True):
        ex, ey = end[0] - start[0], end[1] - start[1]
        px, py = f.u - start[0], f.v - start[1]
        t = np.clip((px * ex + py * ey) / max(ex * ex + ey * ey, 1e-12), 0.0, 1.0)
        nearest = np.minimum(nearest, (px - t * ex) ** 2 + (py - t * ey) ** 2)
        inside = np.minimum(inside, turn * (py * ex - px * ey))
    distance: Field = np.sqrt(nearest) * np.where(inside > 0, -1.0, 1.0) - rounding
    return distance


def joined(one: Field, other: Field, blend: float) -> Field:
    """The union of two shapes whose seam is rounded over a width of ``blend``."""
    h = np.clip(0.5 + 0.5 * (other - one) / blend, 0.0, 1.0)
    blended: Field = other + (one - other) * h - blend * h * (1.0 - h)
    return blended


class Raster:
    """A picture: ``pixels`` of shape (3, resolution, resolution), float64, from 0 to 1.

    ``softness`` is the least width of any edge, in scene units: a lens out of focus.
    """

    def __init__(self, resolution: int, softness: float = 0.0) -> None:
        self.frame = scene(resolution)
        self.softness = softness
        self.pixels = np.zeros((3, resolution, resolution))

    def fill(
        self, f: Frame, distance: Field, colour: Colour, opacity: float = 1.0, soft: float = 0.0
    ) -> None:
        """Fill a shape with a colour of shape (3,), or (3, resolution, resolution).

        ``distance`` belongs to the frame ``f``; ``soft`` widens the edge (in the frame's unit).
        """
        width = max(1.0 / self.frame.resolution, self.softness) / f.unit
        mask = np.clip(0.5 - distance / max(width, soft), 0.0, 1.0) * opacity
        rows, columns = f.window
        value = colour[:, None, None] if colour.ndim == 1 else colour[:, rows, columns]
        part = self.pixels[:, rows, columns]
        part += mask * (value - part)


def cloud(f: Frame, rng: np.random.Generator, frequency: float, octaves: int = 2) -> Field:
    """Smooth noise in about [−1, 1], ``frequency`` bumps a unit; finer octaves weigh half.

    Values on a 16×16 lattice that repeats, joined by smoothsteps: the number of draws depends
    on ``octaves`` alone, so that the noise is the same at every resolution.
    """
    total, weight = np.zeros(f.u.shape), 1.0
    for _ in range(octaves):
        lattice = rng.uniform(-1.0, 1.0, (16, 16))
        shift = rng.uniform(0.0, 16.0, 2)
        x, y = f.u * frequency + shift[0], f.v * frequency + shift[1]
        x0, y0 = np.floor(x), np.floor(y)
        tx, ty = x - x0, y - y0
        tx, ty = tx * tx * (3 - 2 * tx), ty * ty * (3 - 2 * ty)
        column, row = x0.astype(np.int64) & 15, y0.astype(np.int64) & 15
        right, below = (column + 1) & 15, ((row + 1) & 15) << 4
        row <<= 4
        corner = lattice.ravel().take
        top = corner(row | column) * (1 - tx) + corner(row | right) * tx
        bottom = corner(below | column) * (1 - tx) + corner(below | right) * tx
        total += weight * (top * (1 - ty) + bottom * ty)
        weight, frequency = weight / 2, frequency * 2
    return total
